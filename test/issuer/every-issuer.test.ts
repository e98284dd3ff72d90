import { rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  commandIssuer,
  DeviceAgent,
  folderIssuer,
  functionIssuer,
  manualIssuer,
  type IssueAnswer,
  type Issuer,
} from 'leafkeeper'
import { generateKeyFile } from 'leafkeeper-sim'
import { describe, expect, it, onTestFinished } from 'vitest'
import { appears } from '../support/appears.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { createWorld, hubThumbprint, next, rollPhase, type World } from '../support/world.ts'

/** A pipeline that answers when somebody has decided: what was asked for, and how the answer gets back. */
interface Desk {
  readonly issuer: Issuer
  /** What a chain for another key leads to. */
  readonly wrong: 'ends the roll' | 'is set aside' | 'is refused to who brings it'
  /** The request that lies there. */
  readonly request: (agent: DeviceAgent) => Promise<string>
  readonly give: (agent: DeviceAgent, chain: string) => Promise<void>
}

async function byFunction(): Promise<Desk> {
  const requests = new Map<string, string>()
  const seen = new Set<string>()
  let put: () => void = () => undefined
  let chain: string | undefined
  const answer = (): Promise<IssueAnswer> => {
    const issued = chain
    chain = undefined
    return Promise.resolve(
      issued === undefined
        ? { kind: 'pending', ticket: 'at the desk', retryAfterMs: 10 }
        : { kind: 'issued', chain: issued },
    )
  }
  return Promise.resolve({
    wrong: 'ends the roll',
    issuer: functionIssuer('function', {
      // It may be asked again with the same id, as after a restart.
      submit: ({ requestId, csr }) => {
        requests.set(requestId, csr)
        put()
        return answer()
      },
      resume: answer,
    }),
    request: async () => {
      for (;;) {
        const [id, csr] = [...requests].find(([requestId]) => !seen.has(requestId)) ?? []
        if (id !== undefined && csr !== undefined) {
          seen.add(id)
          return csr
        }
        await new Promise<void>((resolve) => (put = resolve))
      }
    },
    give: (_agent, issued) => {
      chain = issued
      return Promise.resolve()
    },
  })
}

async function byCommand(): Promise<Desk> {
  const folder = await temporaryFolder()
  const [order, answer] = [join(folder, 'order.csr'), join(folder, 'answer.pem')]
  const script = `
    if [ -e '${answer}' ]; then cat '${answer}'; rm '${answer}'; exit 0; fi
    if [ -z "$LEAFKEEPER_TICKET" ]; then cat > '${order}.part'; mv '${order}.part' '${order}'; fi
    echo ordered; exit 75`
  return {
    wrong: 'ends the roll',
    issuer: commandIssuer({ program: 'sh', arguments: ['-c', script], retryAfterMs: 20 }),
    request: async () => {
      const csr = await appears(order)
      await rm(order)
      return csr
    },
    give: (_agent, chain) => put(answer, chain),
  }
}

async function byFolder(): Promise<Desk> {
  const folder = await temporaryFolder()
  return {
    wrong: 'is set aside',
    issuer: folderIssuer({ folder, pollMs: 20 }),
    request: () => appears(join(folder, 'request.csr')),
    give: (_agent, chain) => put(join(folder, 'certificate.pem'), chain),
  }
}

async function byHand(): Promise<Desk> {
  return Promise.resolve({
    wrong: 'is refused to who brings it',
    issuer: manualIssuer(),
    request: async (agent) => (await agent.createCertificateRequest()).csr,
    give: async (agent, chain) => {
      await agent.installCertificate(chain)
    },
  })
}

/** Whole, or not there: the device may look at any moment. */
async function put(file: string, text: string): Promise<void> {
  await writeFile(`${file}.part`, text)
  await rename(`${file}.part`, file)
}

describe('a device is bootstrapped, rolled over a restart, told something wrong, and rolled', () => {
  const desks: [name: string, desk: () => Promise<Desk>][] = [
    ['function', byFunction],
    ['command', byCommand],
    ['folder', byFolder],
    ['hand', byHand],
  ]

  it.each(desks)('by %s', async (way, open) => {
    const name = `device-by-${way}`
    const world = await createWorld()
    const { issuer, request, give, wrong } = await open()
    const stateFolder = await temporaryFolder()
    const start = async (): Promise<DeviceAgent> => {
      const agent = await DeviceAgent.start(world.agentOptions(name, { issuer, stateFolder }))
      onTestFinished(() => agent.stop())
      return agent
    }

    const first = await start()
    await give(first, await signed(world, name, await request(first)))
    await first.connected()

    // The answer comes while nobody is there to take it; by hand, to the next process.
    first.beginRoll({})
    await rollPhase(first, 'requesting')
    const csr = await request(first)
    await first.stop()
    const chain = await signed(world, name, csr)
    if (wrong !== 'is refused to who brings it') await give(first, chain)
    const agent = await start()
    const rolled = next(agent, 'rolled')
    if (wrong === 'is refused to who brings it') await give(agent, chain)
    expect((await rolled)[0]).toMatchObject({ generation: 2, newThumbprint: world.leaf(1).thumbprint })

    const before = agent.status().active
    agent.beginRoll({})
    await rollPhase(agent, 'requesting')
    await request(agent)
    const { publicKey } = await generateKeyFile()
    const foreign = await world.root.issueLeaf({ commonName: name, publicKey })
    const failed = next(agent, 'rollFailed')
    const problem = next(agent, 'problem', ({ error }) => error.code === 'CERT_KEY_MISMATCH')
    const given = give(agent, foreign.chain)
    if (wrong === 'is refused to who brings it')
      await expect(given).rejects.toMatchObject({ code: 'CERT_KEY_MISMATCH' })
    else await problem
    expect(agent.status()).toMatchObject({ connection: 'connected', active: before })
    if (wrong === 'ends the roll') {
      expect((await failed)[0].error).toMatchObject({ code: 'CERT_KEY_MISMATCH' })
      agent.beginRoll({})
      await rollPhase(agent, 'requesting')
    } else expect(agent.status().roll).toBe('requesting')
    await agent.send({ body: 'on the certificate before' })

    const again = next(agent, 'rolled')
    await give(agent, await signed(world, name, await request(agent)))
    const [{ newThumbprint }] = await again
    expect(newThumbprint).toBe(world.leaf(2).thumbprint)
    expect(hubThumbprint(world.cloud, agent)).toBe(newThumbprint)
  })
})

/** The authority signs, and its certificate comes into the enrollment beside the one before. */
async function signed(world: World, name: string, csr: string): Promise<string> {
  const leaf = await world.root.issueLeaf({ csr })
  world.issued.push(leaf)
  world.enroll(name, leaf, world.issued.at(-2))
  return leaf.chain
}
