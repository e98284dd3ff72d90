import { EventEmitter, once } from 'node:events'
import { readdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { functionIssuer, type IssueAnswer, type Issuer } from 'leafkeeper'
import { TestAuthority, type IssuedLeaf } from 'leafkeeper-sim'
import { describe, expect, it } from 'vitest'
import { createAzure } from '../support/azure.ts'
import { keepSending } from '../support/telemetry.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { next } from '../support/world.ts'

/** Requests go out into a folder as `{requestId}.csr`; a certificate comes back as `{requestId}.pem`, or not yet. */
function folderIssuer(folder: string, asked: () => void): Issuer {
  const look = async (ticket: string): Promise<IssueAnswer> => {
    const chain = await readFile(join(folder, `${ticket}.pem`), 'utf8').catch(() => undefined)
    asked()
    return chain === undefined ? { kind: 'pending', ticket, retryAfterMs: 20 } : { kind: 'issued', chain }
  }
  return functionIssuer('third party, by files', {
    async submit({ requestId, csr }) {
      await writeFile(join(folder, `${requestId}.csr`), csr)
      return look(requestId)
    },
    resume: look,
  })
}

/** The third party signs whatever lies there, tells the owner of each leaf, and then delivers it. */
async function signAll(
  folder: string,
  thirdParty: TestAuthority,
  issued: (leaf: IssuedLeaf) => Promise<void>,
): Promise<readonly IssuedLeaf[]> {
  const names = await readdir(folder)
  const ids = names.filter((name) => name.endsWith('.csr')).map((name) => name.replace('.csr', ''))
  const leaves: IssuedLeaf[] = []
  for (const id of ids.filter((each) => !names.includes(`${each}.pem`))) {
    const leaf = await thirdParty.issueLeaf({ csr: await readFile(join(folder, `${id}.csr`), 'utf8') })
    await issued(leaf)
    // Whole, or not there: the device may look at any moment.
    await writeFile(join(folder, `${id}.new`), leaf.chain)
    await rename(join(folder, `${id}.new`), join(folder, `${id}.pem`))
    leaves.push(leaf)
  }
  return leaves
}

describe('O2: a third party issues the certificate later', () => {
  it.each(['while the agent runs', 'while the agent is stopped'] as const)('%s', async (when) => {
    const azure = await createAzure()
    const registrationId = azure.name(`device-o2-${when.replaceAll(' ', '-')}`)
    const thirdParty = await TestAuthority.createRoot({ commonName: 'third party' })
    const [folder, stateFolder] = await Promise.all([temporaryFolder(), temporaryFolder()])
    const requests = new EventEmitter()
    const issuer = folderIssuer(folder, () => requests.emit('asked'))

    // The first certificate: the device waits for it, since it has no other.
    const asked = once(requests, 'asked')
    const first = await azure.startAgent(registrationId, issuer, { stateFolder })
    await asked
    const [initial] = await signAll(folder, thirdParty, async (leaf) => {
      await azure.putIndividual({ registrationId, primary: leaf })
    })
    await first.connected()
    const telemetry = keepSending(azure, first)
    await telemetry.acknowledged(10)

    // The roll waits for the third party; the device goes on with what it has.
    const askedAgain = once(requests, 'asked')
    const interrupted = first.roll().catch((error: unknown) => error)
    await askedAgain
    await telemetry.acknowledged(10)
    expect(first.status()).toMatchObject({ roll: 'requesting', active: { generation: 1 } })

    let agent = first
    if (when === 'while the agent is stopped') {
      expect((await telemetry.stop()).lost).toEqual([])
      await first.stop()
      expect(await interrupted).toMatchObject({ code: 'AGENT_STOPPED' })
    }
    const [fresh] = await signAll(folder, thirdParty, async (leaf) => {
      await azure.putIndividual({ registrationId, primary: initial, secondary: leaf })
    })
    if (when === 'while the agent is stopped') {
      agent = await azure.startAgent(registrationId, issuer, { stateFolder })
      const [report] = await next(agent, 'rolled')
      expect(report.newThumbprint).toBe(fresh?.thumbprint)
    } else {
      expect(await interrupted).toMatchObject({ newThumbprint: fresh?.thumbprint })
      await telemetry.acknowledged(10)
      expect((await telemetry.stop()).lost).toEqual([])
    }
    await agent.connected()
    expect(await azure.hubThumbprint(registrationId)).toBe(fresh?.thumbprint)
    // One request for each certificate, however often it was asked for, also by another process.
    expect((await readdir(folder)).filter((name) => name.endsWith('.csr'))).toHaveLength(2)
    await agent.send({ body: 'on the new leaf' })
  })
})
