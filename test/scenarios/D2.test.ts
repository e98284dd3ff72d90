import { X509Certificate } from 'node:crypto'
import { functionIssuer, LeafkeeperError } from 'leafkeeper'
import { generateKeyFile, type LeafOrder } from 'leafkeeper-sim'
import { describe, expect, it } from 'vitest'
import { createEnrollingWorld, createWorld, next } from '../support/world.ts'

describe('D2: the new leaf has the same common name as the old one', () => {
  it('keeps common name and registration over a roll, without a second enrollment', async () => {
    const world = await createEnrollingWorld('device-d2')
    const agent = await world.startAgent('device-d2')
    await agent.connected()
    const report = await agent.roll()

    expect(report.newThumbprint).not.toBe(report.oldThumbprint)
    const names = world.issued.map(({ certificate }) => new X509Certificate(certificate).subject)
    expect(names).toEqual(['CN=device-d2', 'CN=device-d2'])
    expect(world.cloud.dps.enrollments.list()).toHaveLength(1)
    expect(world.cloud.hubs.flatMap((hub) => hub.registry.list())).toHaveLength(1)
  })

  const day = 24 * 60 * 60 * 1000
  const wrongLeaves: [string, string, () => Promise<LeafOrder>][] = [
    ['another name', 'CERT_COMMON_NAME_CHANGED', () => Promise.resolve({ commonName: 'device-d2-other' })],
    ['another key', 'CERT_KEY_MISMATCH', async () => ({ publicKey: (await generateKeyFile()).publicKey })],
    ['a past validity', 'CERT_EXPIRED', () => Promise.resolve({ notAfter: new Date(Date.now() - day / 2) })],
    [
      'no client authentication',
      'CERT_USAGE',
      () => Promise.resolve({ extendedKeyUsage: ['1.3.6.1.5.5.7.3.1'] }),
    ],
  ]

  it.each(wrongLeaves)(
    'refuses a certificate with %s, and goes on with the old one',
    async (_what, code, order) => {
      const world = await createEnrollingWorld('device-d2x')
      let wrong = false
      const agent = await world.startAgent('device-d2x', {
        agentName: `refusing-${code}`,
        issuer: functionIssuer('sometimes wrong', async (request) =>
          wrong
            ? (await world.root.issueLeaf({ csr: request.csr, ...(await order()) })).chain
            : world.issue(request),
        ),
      })
      await agent.connected()
      const before = agent.status().active?.thumbprint
      wrong = true
      const refusal: unknown = await agent.roll().catch((error: unknown) => error)

      expect(refusal).toBeInstanceOf(LeafkeeperError)
      expect(refusal).toMatchObject({ code })
      expect(agent.status().active?.thumbprint).toBe(before)
      expect(agent.status().connection).toBe('connected')
      await agent.send({ body: 'still here' })

      // The refused generation leaves the token, and the next roll works.
      wrong = false
      await agent.roll()
      expect(agent.status().active?.thumbprint).not.toBe(before)
    },
  )

  it('refuses a certificate that is not valid yet, and asks again', async () => {
    const world = await createEnrollingWorld('device-d2y')
    let early = false
    const agent = await world.startAgent('device-d2y', {
      issuer: functionIssuer('early', async (request) => {
        if (!early) return world.issue(request)
        early = false
        return (await world.root.issueLeaf({ csr: request.csr, notBefore: new Date(Date.now() + day) })).chain
      }),
    })
    await agent.connected()
    early = true
    const problem = next(agent, 'problem', ({ during }) => during === 'requestCertificate')
    const rolled = agent.roll()
    expect((await problem)[0].error.code).toBe('CERT_NOT_YET_VALID')
    await rolled
  })

  it('refuses what is no certificate at all', async () => {
    const world = await createWorld()
    const agent = await world.startAgent('device-d2z', {
      issuer: functionIssuer('garbage', () => Promise.resolve('no')),
    })
    const [{ error }] = await next(agent, 'rollFailed')
    expect(error.code).toBe('CERT_UNREADABLE')
    expect(agent.status().active).toBeNull()
  })
})
