import { functionIssuer, systemClock, type Clock, type DeviceAgent, type IssueRequest } from 'leafkeeper'
import { generateKeyFile, TestAuthority } from 'leafkeeper-sim'
import { describe, expect, it } from 'vitest'
import { createEnrollingWorld, next, type World } from '../support/world.ts'

type Answer = (world: World, request: IssueRequest) => Promise<string>

/** A connected device; once `answers` has something, the issuer answers with it, and rightly afterwards. */
async function device(
  registrationId: string,
  options: { readonly clock?: Clock } = {},
): Promise<{ world: World; agent: DeviceAgent; answers: Answer[] }> {
  const world = await createEnrollingWorld(registrationId)
  const answers: Answer[] = []
  const agent = await world.startAgent(registrationId, {
    ...options,
    issuer: functionIssuer('theirs', (request) => {
      const answer = answers.shift()
      return answer === undefined ? world.issue(request) : answer(world, request)
    }),
  })
  await agent.connected()
  return { world, agent, answers }
}

const tenMegabytes = 10 * 1024 * 1024
const lines = (line: string): string => `${line}\n`.repeat(Math.ceil(tenMegabytes / (line.length + 1)))
const pem = (body: string): string => `-----BEGIN CERTIFICATE-----\n${body}-----END CERTIFICATE-----\n`

describe('an issuer that answers with', () => {
  const wrong: [what: string, code: string, answer: Answer][] = [
    [
      "another device's certificate",
      'CERT_KEY_MISMATCH',
      async ({ root }) => {
        const { publicKey } = await generateKeyFile()
        return (await root.issueLeaf({ commonName: 'somebody-else', publicKey })).chain
      },
    ],
    [
      "another device's name on the right key",
      'CERT_COMMON_NAME_CHANGED',
      async ({ root }, { csr }) => (await root.issueLeaf({ csr, commonName: 'somebody-else' })).chain,
    ],
    ['the certificate that is in use', 'CERT_NOT_NEW', (world) => Promise.resolve(world.leaf(0).chain)],
    [
      'a chain of another authority',
      'CERT_CHAIN_BROKEN',
      async ({ root }, { csr }) => {
        const stranger = await TestAuthority.createRoot({ commonName: 'a stranger' })
        const intermediate = await stranger.createIntermediate({ commonName: 'its intermediate' })
        return (await root.issueLeaf({ csr })).certificate + intermediate.certificate
      },
    ],
    ['10 MB of text', 'CERT_TOO_LARGE', () => Promise.resolve(lines('garbage'))],
    ['10 MB in the shape of one certificate', 'CERT_TOO_LARGE', () => Promise.resolve(pem(lines('QUJD')))],
    ['10 MB of certificates', 'CERT_TOO_LARGE', (world) => Promise.resolve(lines(world.leaf(0).certificate))],
    ['10 MB of nothing', 'CERT_TOO_LARGE', () => Promise.resolve('\0'.repeat(tenMegabytes))],
    ['an empty text', 'CERT_UNREADABLE', () => Promise.resolve('')],
  ]

  it.each(wrong)(
    '%s (%s): the roll ends, the device goes on, and the next roll works',
    async (what, code, answer) => {
      const { agent, answers } = await device(`wrong-${what.replace(/\W+/g, '-')}`)
      const before = agent.status().active?.thumbprint
      answers.push(answer)
      await expect(agent.roll()).rejects.toMatchObject({ code })
      await agent.send({ body: 'still here' })
      expect(agent.status()).toMatchObject({ connection: 'connected', active: { thumbprint: before } })
      await agent.roll()
      expect(agent.status().active?.thumbprint).not.toBe(before)
    },
  )
})

describe('an issuer that answers', () => {
  it('twice, since its first answer was lost: the second certificate is used', async () => {
    const { world, agent, answers } = await device('issuer-twice')
    answers.push(async ({ issue }, request) => {
      await issue(request)
      throw new Error('the answer was lost')
    })
    const { newThumbprint } = await agent.roll()
    expect(world.issued).toHaveLength(3)
    expect(newThumbprint).toBe(world.leaf(2).thumbprint)
  })

  it('late, when the roll is over: the answer is of no interest', async () => {
    const { world, agent, answers } = await device('issuer-late')
    let answerLate: (chain: string) => void = () => undefined
    // The phase comes before the question: a breach between them would be what the issuer is asked for.
    const asked = new Promise<IssueRequest>((resolve) => {
      answers.push((_world, request) => {
        resolve(request)
        return new Promise((answer) => (answerLate = answer))
      })
    })
    const overtaken = expect(agent.roll()).rejects.toMatchObject({ code: 'AGENT_STATE_INVALID' })
    const request = await asked
    const { newThumbprint, generation } = await agent.roll({ mode: 'breach' })
    await overtaken
    answerLate(await world.issue(request))
    await agent.roll()
    expect(generation).toBe(3)
    expect(agent.status().active).toMatchObject({ generation: 4 })
    expect(newThumbprint).not.toBe(agent.status().active?.thumbprint)
  })

  it('not yet, with a ticket of 10 MB: it is asked again, and no such thing is kept', async () => {
    const world = await createEnrollingWorld('issuer-ticket')
    let huge = false
    const agent = await world.startAgent('issuer-ticket', {
      issuer: functionIssuer('theirs', (request) => {
        if (!huge) return world.issue(request)
        huge = false
        return Promise.resolve({ kind: 'pending', ticket: 'x'.repeat(tenMegabytes), retryAfterMs: 10 })
      }),
    })
    await agent.connected()
    huge = true
    const problem = next(agent, 'problem', ({ during }) => during === 'requestCertificate')
    const rolled = agent.roll()
    const [{ error }] = await problem
    expect(error).toMatchObject({ code: 'ISSUER_UNAVAILABLE' })
    expect(error.message).toContain(`a ticket of ${tenMegabytes} characters`)
    await rolled
  })

  it('never: it is asked again after five minutes, and the device goes on meanwhile', async () => {
    const limits: (() => void)[] = []
    // Alarms that are minutes away ring when the test says: the issuer's limit is one of them.
    const clock: Clock = {
      now: () => systemClock.now(),
      wakeAt(instant, wake) {
        if (instant - systemClock.now() < 4 * 60_000) return systemClock.wakeAt(instant, wake)
        limits.push(wake)
        return () => undefined
      },
    }
    const { agent, answers } = await device('issuer-never', { clock })
    limits.length = 0
    let signal: AbortSignal | undefined
    const silent = new Promise<void>((asked) => {
      answers.push((_world, request) => {
        signal = request.signal
        asked()
        return new Promise(() => undefined)
      })
    })
    const rolled = agent.roll()
    await silent
    await agent.send({ body: 'meanwhile' })
    const problem = next(agent, 'problem', ({ during }) => during === 'requestCertificate')
    for (const over of limits) over()
    const [{ error }] = await problem
    expect(error).toMatchObject({ code: 'ISSUER_UNAVAILABLE', retryable: true })
    expect(error.message).toContain('"theirs" has not answered for 5 minutes')
    expect(signal?.aborted).toBe(true)
    await rolled
  })
})
