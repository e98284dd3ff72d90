import { rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  commandIssuer,
  DeviceAgent,
  estIssuer,
  folderIssuer,
  functionIssuer,
  manualIssuer,
  Secret,
  type IssueAnswer,
  type Issuer,
} from 'leafkeeper'
import { estUser, generateKeyFile } from 'leafkeeper-sim'
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
  /** Default: the authority of the world, which enrolls what it has signed. */
  readonly authority?: Authority
}

/** Who signs what lies at a desk. */
interface Authority {
  readonly sign: (csr: string) => Promise<string>
  /** A chain for another key. */
  readonly signWrongly: () => Promise<string>
  /** Thumbprints of what it has signed rightly, in order. */
  readonly thumbprints: () => readonly string[]
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

/** The server has an authority of its own, and somebody who says yes to what it is to sign. */
async function byEst({ cloud }: World): Promise<Desk> {
  cloud.est.put({ label: '', approval: 'manual', retryAfterSeconds: 0 })
  const { certificate } = await cloud.est.authority()
  cloud.dps.groups.put({ enrollmentGroupId: 'by-est', attestation: { primary: certificate } })
  const issued: { readonly isWrong: boolean; readonly thumbprint: string }[] = []
  let isWrong = false
  cloud.events.on('estAnswered', ({ thumbprint }) => {
    if (thumbprint !== undefined) issued.push({ isWrong, thumbprint })
  })
  return {
    wrong: 'ends the roll',
    issuer: estIssuer({
      server: cloud.address,
      trustedAuthorities: cloud.trustedAuthorities,
      bootstrap: { basic: { user: estUser, password: { callback: () => new Secret(cloud.est.password) } } },
    }),
    request: async () => {
      while (!cloud.est.pending.some(({ decision }) => decision === 'waiting'))
        await cloud.waitFor('estAnswered')
      return 'what waits at the server'
    },
    give: () => {
      cloud.est.approve()
      return Promise.resolve()
    },
    authority: {
      sign: (waiting) => {
        isWrong = false
        return Promise.resolve(waiting)
      },
      signWrongly: () => {
        isWrong = true
        cloud.faults.set('issuance-wrong', { times: 1 })
        return Promise.resolve('a chain for another key')
      },
      thumbprints: () => issued.filter((one) => !one.isWrong).map(({ thumbprint }) => thumbprint),
    },
  }
}

/** Whole, or not there: the device may look at any moment. */
async function put(file: string, text: string): Promise<void> {
  await writeFile(`${file}.part`, text)
  await rename(`${file}.part`, file)
}

describe('a device is bootstrapped, rolled over a restart, told something wrong, and rolled', () => {
  const desks: [name: string, desk: (world: World) => Promise<Desk>][] = [
    ['function', byFunction],
    ['command', byCommand],
    ['folder', byFolder],
    ['hand', byHand],
    ['EST', byEst],
  ]

  it.each(desks)('by %s', async (way, open) => {
    const name = `device-by-${way}`
    const world = await createWorld()
    const desk = await open(world)
    const { issuer, request, give, wrong } = desk
    const { sign, signWrongly, thumbprints } = desk.authority ?? authorityOf(world, name)
    const stateFolder = await temporaryFolder()
    const start = async (): Promise<DeviceAgent> => {
      const agent = await DeviceAgent.start(world.agentOptions(name, { issuer, stateFolder }))
      onTestFinished(() => agent.stop())
      return agent
    }

    const first = await start()
    await give(first, await sign(await request(first)))
    await first.connected()

    // The answer comes while nobody is there to take it; by hand, to the next process.
    first.beginRoll({})
    await rollPhase(first, 'requesting')
    const csr = await request(first)
    await first.stop()
    const chain = await sign(csr)
    if (wrong !== 'is refused to who brings it') await give(first, chain)
    const agent = await start()
    const rolled = next(agent, 'rolled')
    if (wrong === 'is refused to who brings it') await give(agent, chain)
    expect((await rolled)[0]).toMatchObject({ generation: 2, newThumbprint: thumbprints()[1] })

    const before = agent.status().active
    agent.beginRoll({})
    await rollPhase(agent, 'requesting')
    await request(agent)
    const foreign = await signWrongly()
    const failed = next(agent, 'rollFailed')
    const problem = next(agent, 'problem', ({ error }) => error.code === 'CERT_KEY_MISMATCH')
    const given = give(agent, foreign)
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
    await give(agent, await sign(await request(agent)))
    const [{ newThumbprint }] = await again
    expect(newThumbprint).toBe(thumbprints()[2])
    expect(hubThumbprint(world.cloud, agent)).toBe(newThumbprint)
  })
})

/** The authority signs, and its certificate comes into the enrollment beside the one before. */
function authorityOf(world: World, name: string): Authority {
  return {
    sign: async (csr) => {
      const leaf = await world.root.issueLeaf({ csr })
      world.issued.push(leaf)
      world.enroll(name, leaf, world.issued.at(-2))
      return leaf.chain
    },
    signWrongly: async () => {
      const { publicKey } = await generateKeyFile()
      return (await world.root.issueLeaf({ commonName: name, publicKey })).chain
    },
    thumbprints: () => world.issued.map(({ thumbprint }) => thumbprint),
  }
}
