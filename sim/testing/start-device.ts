import { join } from 'node:path'
import { DeviceAgent, dpsOverMqtt, functionIssuer, hubOverMqtt, type DeviceAgentOptions } from 'leafkeeper'
import type { TemporaryToken } from 'leafkeeper/testing'
import type { SimulatedCloud } from '../cloud.ts'
import { TestAuthority } from '../pki/test-authority.ts'

const quick = { baseMs: 200, capMs: 2_000 }

/**
 * Starts a device in a simulated cloud, whose certificates an authority of its own issues and puts into its individual
 * enrollment. It retries within seconds, as a test wants it. Stop it before the cloud and the token go.
 *
 * @param options What is to be otherwise: an issuer, direct methods, a policy, a logger.
 * @throws LeafkeeperError as `DeviceAgent.start` does
 * @example
 * ```ts
 * const agent = await startDevice(cloud, await temporaryToken(), 'gateway-7')
 * await agent.connected()
 * ```
 */
export async function startDevice(
  cloud: SimulatedCloud,
  token: TemporaryToken,
  registrationId: string,
  options: Partial<DeviceAgentOptions> = {},
): Promise<DeviceAgent> {
  const authority = await TestAuthority.createRoot({ commonName: `root of ${registrationId}` })
  const network = { trustedAuthorities: cloud.trustedAuthorities, connectTo: cloud.connectTo }
  const certificates: string[] = []
  return DeviceAgent.start({
    registrationId,
    token: token.options,
    provisioning: dpsOverMqtt({
      provisioningHost: cloud.provisioningHost,
      idScope: cloud.idScope,
      ...network,
    }),
    hub: hubOverMqtt(network),
    // The owner's pipeline: sign the request, put the certificate into the enrollment, hand it to the device.
    issuer: functionIssuer('test authority', async ({ csr }) => {
      const { certificate, chain } = await authority.issueLeaf({ csr })
      certificates.push(certificate)
      const [primary, secondary] = certificates.slice(-2)
      cloud.dps.enrollments.put({
        registrationId,
        attestation: {
          ...(primary === undefined ? {} : { primary }),
          ...(secondary === undefined ? {} : { secondary }),
        },
      })
      return chain
    }),
    stateFolder: join(token.folder, 'agents', registrationId),
    // A test is over in seconds; a fleet is given more time, so that it does not fall upon DPS.
    policy: { debounce: quick, retry: quick, lost: quick, busy: quick },
    ...options,
  })
}
