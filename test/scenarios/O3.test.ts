import { webcrypto } from 'node:crypto'
import { estIssuer, Secret, type Pem, type EstIssuerOptions } from 'leafkeeper'
import { estUser, SimulatedCloud, TestAuthority } from 'leafkeeper-sim'
import { expect, it, onTestFinished } from 'vitest'
import type { Azure } from '../support/azure.ts'
import { scenario } from '../support/scenario.ts'
import { keepSending } from '../support/telemetry.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { next, testHsm } from '../support/world.ts'

interface EstAnswer {
  readonly operation: string
  readonly status: number
  readonly thumbprint?: string | undefined
}

/** An EST server of the owner's, whose authority a group of DPS knows; all that it answers is kept. */
async function owner(
  azure: Azure,
  name: string,
): Promise<{
  readonly est: SimulatedCloud
  readonly options: EstIssuerOptions
  readonly answers: EstAnswer[]
  readonly asked: (status: number) => Promise<unknown>
}> {
  const est = await SimulatedCloud.start()
  onTestFinished(() => est.close())
  est.est.put({ label: 'gateways', retryAfterSeconds: 0 })
  const authority = await est.est.authority()
  const root = authority.stored().issuer
  if (root === undefined) throw new Error('The authority of the EST server has no root.')
  await azure.addVerified(azure.name(`${name}-root`), await TestAuthority.restore(root))
  await azure.putGroup({ enrollmentGroupId: azure.name(name), intermediates: { primary: authority } })
  const answers: EstAnswer[] = []
  est.events.on('estAnswered', (answer) => answers.push(answer))
  return {
    est,
    answers,
    asked: async (status) => est.waitFor('estAnswered', (answer) => answer.status === status),
    options: { server: est.address, label: 'gateways', trustedAuthorities: est.trustedAuthorities },
  }
}

scenario(
  'O3: an EST server issues the certificates',
  (createAzure) => {
    it('the first one to a password, the next ones to the key in the HSM: late, wrong, and at once', async () => {
      const azure = await createAzure()
      const registrationId = azure.name('device-o3-password')
      const { est, options, answers, asked } = await owner(azure, 'o3-password')
      const { password } = est.est
      const stateFolder = await temporaryFolder()
      const issuer = estIssuer({
        ...options,
        bootstrap: { basic: { user: estUser, password: { callback: () => new Secret(password) } } },
      })
      const first = await azure.startAgent(registrationId, issuer, { stateFolder })
      await first.connected()
      expect(answers).toMatchObject([{ operation: 'simpleenroll', status: 200 }])
      const before = keepSending(azure, first)
      await before.acknowledged(10)

      // Somebody has to say yes, and does so while the device is off.
      est.est.put({ label: 'gateways', approval: 'manual' })
      const waits = asked(202)
      first.beginRoll({})
      await waits
      await before.acknowledged(10)
      expect(first.status()).toMatchObject({ roll: 'requesting', active: { generation: 1 } })
      expect((await before.stop()).lost).toEqual([])
      await first.stop()
      est.est.approve()
      const agent = await azure.startAgent(registrationId, issuer, { stateFolder })
      const [late] = await next(agent, 'rolled')
      expect(late).toMatchObject({ generation: 2, oldThumbprint: answers[0]?.thumbprint })
      expect(answers.at(-1)).toMatchObject({ operation: 'simplereenroll', thumbprint: late.newThumbprint })
      expect(await azure.hubThumbprint(registrationId)).toBe(late.newThumbprint)

      // An answer for a key that is not the device's ends the roll, and nothing else.
      const telemetry = keepSending(azure, agent)
      est.est.put({ label: 'gateways', approval: 'automatic' })
      est.faults.set('issuance-wrong', { times: 1 })
      await expect(agent.roll()).rejects.toMatchObject({ code: 'CERT_KEY_MISMATCH' })
      await telemetry.acknowledged(10)
      expect(agent.status()).toMatchObject({
        connection: 'connected',
        active: { thumbprint: late.newThumbprint },
      })

      const report = await agent.roll()
      expect(report.oldThumbprint).toBe(late.newThumbprint)
      expect(answers.at(-1)).toMatchObject({ operation: 'simplereenroll', thumbprint: report.newThumbprint })
      await telemetry.acknowledged(10)
      expect((await telemetry.stop()).lost).toEqual([])
      expect(await azure.hubThumbprint(registrationId)).toBe(report.newThumbprint)
      expect(new Set(answers.slice(1).map(({ operation }) => operation))).toEqual(new Set(['simplereenroll']))
    })

    it("the first one to the manufacturer's certificate in the HSM, which also helps when the later ones are revoked", async () => {
      const azure = await createAzure()
      const registrationId = azure.name('device-o3-manufacturer')
      const { est, options, answers } = await owner(azure, 'o3-manufacturer')
      const hsm = testHsm()
      // Requests have to be tied to their TLS connection, by what the key in the HSM has signed there.
      est.est.put({ label: 'gateways', attributes: ['1.2.840.113549.1.9.7'] })
      const keyName = azure.name('serial-4711')
      const manufacturer = await TestAuthority.createRoot({ commonName: 'manufacturer' })
      est.est.trust(manufacturer.certificate)
      const token = await hsm.open()
      const keys = token.keyStore(keyName)
      const { keyId, publicKey = new Uint8Array() } = await keys.generate(1, 'EC-P256')
      const algorithm = { name: 'ECDSA', namedCurve: 'P-256' }
      const { chain } = await manufacturer.issueLeaf({
        publicKey: await webcrypto.subtle.importKey('spki', publicKey, algorithm, true, ['verify']),
        commonName: keyName,
      })
      await keys.storeCertificate(keyId, chain as Pem)
      await token.close()

      const issuer = estIssuer({
        ...options,
        bootstrap: {
          certificate: {
            token: { module: hsm.module, token: { label: hsm.label }, pin: { callback: () => hsm.pin } },
            keyName,
          },
        },
      })
      const agent = await azure.startAgent(registrationId, issuer)
      await agent.connected()
      const { newThumbprint } = await agent.roll()
      est.est.revoke(newThumbprint)
      await expect(agent.roll()).rejects.toMatchObject({ code: 'ISSUER_REFUSED', reason: '403' })
      const report = await agent.roll({ mode: 'breach' })
      expect(report.oldThumbprint).toBe(newThumbprint)
      expect(answers.map(({ operation, status }) => [operation, status])).toEqual([
        ['simpleenroll', 200],
        ['simplereenroll', 200],
        ['simplereenroll', 403],
        ['simpleenroll', 200],
      ])
      expect(await azure.hubThumbprint(registrationId)).toBe(report.newThumbprint)
    })
  },
  { authorities: true },
)
