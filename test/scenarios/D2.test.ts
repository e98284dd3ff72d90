import { X509Certificate } from 'node:crypto'
import { functionIssuer, LeafkeeperError } from 'leafkeeper'
import { generateKeyFile, type LeafOrder } from 'leafkeeper-sim'
import { expect, it } from 'vitest'
import { signerOf, type Azure } from '../support/azure.ts'
import { scenario } from '../support/scenario.ts'
import { next } from '../support/world.ts'

scenario('D2: the new leaf has the same common name as the old one', (createAzure) => {
  it('keeps common name and registration over a roll, without a second enrollment', async () => {
    const azure = await createAzure()
    const registrationId = azure.name('device-d2')
    const pipeline = await azure.enrolling(registrationId)
    const agent = await azure.startAgent(registrationId, pipeline)
    await agent.connected()
    const report = await agent.roll()

    expect(report.newThumbprint).not.toBe(report.oldThumbprint)
    const names = pipeline.leaves.map(({ certificate }) => new X509Certificate(certificate).subject)
    expect(names).toEqual([`CN=${registrationId}`, `CN=${registrationId}`])
    expect(await enrollmentsLike(azure, registrationId)).toEqual([registrationId])
    expect(await azure.hubThumbprint(registrationId)).toBe(report.newThumbprint)
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
      const azure = await createAzure()
      const registrationId = azure.name('device-d2x')
      const pipeline = await azure.enrolling(registrationId)
      const sign = signerOf(pipeline)
      let wrong = false
      const issuer = functionIssuer('sometimes wrong', async (request) =>
        wrong
          ? (await pipeline.authority.issueLeaf({ csr: request.csr, ...(await order()) })).chain
          : sign(request),
      )
      const agent = await azure.startAgent(registrationId, issuer, {
        agentName: azure.name(`refusing-${code}`),
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
    const azure = await createAzure()
    const registrationId = azure.name('device-d2y')
    const pipeline = await azure.enrolling(registrationId)
    const sign = signerOf(pipeline)
    let early = false
    const issuer = functionIssuer('early', async (request) => {
      if (!early) return sign(request)
      early = false
      const notBefore = new Date(Date.now() + day)
      return (await pipeline.authority.issueLeaf({ csr: request.csr, notBefore })).chain
    })
    const agent = await azure.startAgent(registrationId, issuer)
    await agent.connected()
    early = true
    const problem = next(agent, 'problem', ({ during }) => during === 'requestCertificate')
    const rolled = agent.roll()
    expect((await problem)[0].error.code).toBe('CERT_NOT_YET_VALID')
    await rolled
  })

  it('refuses what is no certificate at all', async () => {
    const azure = await createAzure()
    const issuer = functionIssuer('garbage', () => Promise.resolve('no'))
    const agent = await azure.startAgent(azure.name('device-d2z'), issuer)
    const [{ error }] = await next(agent, 'rollFailed')
    expect(error.code).toBe('CERT_UNREADABLE')
    expect(agent.status().active).toBeNull()
  })
})

/** The individual enrollments whose names begin so. */
async function enrollmentsLike({ provisioning }: Azure, prefix: string): Promise<readonly string[]> {
  const query = provisioning.createIndividualEnrollmentQuery({ query: 'SELECT * FROM enrollments' }, 100)
  const found: string[] = []
  do {
    const page = (await query.next(query.continuationToken)) as unknown as {
      readonly responseBody: readonly { readonly registrationId: string }[]
    }
    found.push(...page.responseBody.map(({ registrationId }) => registrationId))
  } while (query.hasMoreResults)
  return found.filter((registrationId) => registrationId.startsWith(prefix))
}
