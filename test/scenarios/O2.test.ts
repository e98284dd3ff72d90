import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { commandIssuer, folderIssuer, type AgentState } from 'leafkeeper'
import { TestAuthority, type IssuedLeaf } from 'leafkeeper-sim'
import { expect, it } from 'vitest'
import { appears } from '../support/appears.ts'
import { scenario } from '../support/scenario.ts'
import { keepSending } from '../support/telemetry.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { next } from '../support/world.ts'

/** The third party signs the request that lies there, tells the owner of the leaf, and then delivers it. */
async function signRequest(
  folder: string,
  thirdParty: TestAuthority,
  issued: (leaf: IssuedLeaf) => Promise<void>,
): Promise<IssuedLeaf> {
  const leaf = await thirdParty.issueLeaf({ csr: await appears(join(folder, 'request.csr')) })
  await issued(leaf)
  // Whole, or not there: the device may look at any moment.
  await writeFile(join(folder, 'certificate.pem.part'), leaf.chain)
  await rename(join(folder, 'certificate.pem.part'), join(folder, 'certificate.pem'))
  return leaf
}

scenario('O2: a third party issues the certificate later', (createAzure) => {
  it.each(['while the agent runs', 'while the agent is stopped'] as const)('%s', async (when) => {
    const azure = await createAzure()
    const registrationId = azure.name(`device-o2-${when.replaceAll(' ', '-')}`)
    const thirdParty = await TestAuthority.createRoot({ commonName: 'third party' })
    const [folder, stateFolder] = await Promise.all([temporaryFolder(), temporaryFolder()])
    const issuer = folderIssuer({ folder, pollMs: 20 })

    // The first certificate: the device waits for it, since it has no other.
    const first = await azure.startAgent(registrationId, issuer, { stateFolder })
    const initial = await signRequest(folder, thirdParty, async (leaf) => {
      await azure.putIndividual({ registrationId, primary: leaf })
    })
    await first.connected()
    const telemetry = keepSending(azure, first)
    await telemetry.acknowledged(10)

    // The roll waits for the third party; the device goes on with what it has.
    const interrupted = first.roll().catch((error: unknown) => error)
    await appears(join(folder, 'request.csr'))
    await telemetry.acknowledged(10)
    expect(first.status()).toMatchObject({ roll: 'requesting', active: { generation: 1 } })

    let agent = first
    if (when === 'while the agent is stopped') {
      expect((await telemetry.stop()).lost).toEqual([])
      await first.stop()
      expect(await interrupted).toMatchObject({ code: 'AGENT_STOPPED' })
    }
    const fresh = await signRequest(folder, thirdParty, async (leaf) => {
      await azure.putIndividual({ registrationId, primary: initial, secondary: leaf })
    })
    if (when === 'while the agent is stopped') {
      agent = await azure.startAgent(registrationId, issuer, { stateFolder })
      const [report] = await next(agent, 'rolled')
      expect(report.newThumbprint).toBe(fresh.thumbprint)
    } else {
      expect(await interrupted).toMatchObject({ newThumbprint: fresh.thumbprint })
      await telemetry.acknowledged(10)
      expect((await telemetry.stop()).lost).toEqual([])
    }
    await agent.connected()
    expect(await azure.hubThumbprint(registrationId)).toBe(fresh.thumbprint)
    await agent.send({ body: 'on the new leaf' })
  })
  it('by a command that may take its time, and that may refuse', async () => {
    const azure = await createAzure()
    const registrationId = azure.name('device-o2-command')
    const thirdParty = await TestAuthority.createRoot({ commonName: 'third party behind a command' })
    const folder = await temporaryFolder()
    const order = join(folder, 'order.csr')
    // The owner's script: places an order, and looks what has become of it; by what a shell has.
    const script = `
      if [ -e '${folder}/refuse' ]; then echo 'the contract has ended' >&2; exit 77; fi
      if [ -e "${folder}/$LEAFKEEPER_REQUEST_ID.pem" ]; then cat "${folder}/$LEAFKEEPER_REQUEST_ID.pem"; exit 0; fi
      if [ -z "$LEAFKEEPER_TICKET" ]; then cat > '${order}.part'; mv '${order}.part' '${order}'; fi
      echo "$LEAFKEEPER_REQUEST_ID"; exit 75`
    const issuer = commandIssuer({ program: 'sh', arguments: ['-c', script], retryAfterMs: 20 })
    const fill = async (ticket: string, issued: (leaf: IssuedLeaf) => Promise<void>): Promise<IssuedLeaf> => {
      const leaf = await thirdParty.issueLeaf({ csr: await readFile(order, 'utf8') })
      await issued(leaf)
      await writeFile(join(folder, `${ticket}.part`), leaf.chain)
      await rename(join(folder, `${ticket}.part`), join(folder, `${ticket}.pem`))
      return leaf
    }

    const agent = await azure.startAgent(registrationId, issuer)
    await appears(order)
    const initial = await fill(planOf(agent.state).requestId, (leaf) =>
      azure.putIndividual({ registrationId, primary: leaf }),
    )
    await agent.connected()
    await rm(order)
    const rolled = agent.roll()
    await appears(order)
    const fresh = await fill(planOf(agent.state).requestId, (leaf) =>
      azure.putIndividual({ registrationId, primary: initial, secondary: leaf }),
    )
    expect(await rolled).toMatchObject({ newThumbprint: fresh.thumbprint })

    await writeFile(join(folder, 'refuse'), '')
    await expect(agent.roll()).rejects.toMatchObject({
      code: 'ISSUER_REFUSED',
      message: expect.stringContaining('the contract has ended') as unknown,
    })
    await agent.send({ body: 'on the leaf before it' })
    expect(agent.status().active?.thumbprint).toBe(fresh.thumbprint)
  })
})

function planOf({ roll }: AgentState): { readonly requestId: string } {
  if (!('plan' in roll)) throw new Error(`Expected a roll, it is ${roll.phase}.`)
  return roll.plan
}
