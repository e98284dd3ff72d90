import { join } from 'node:path'
import { DeviceAgent, dpsOverMqtt, functionIssuer, hubOverMqtt } from 'leafkeeper'
import type { SimulatedCloud } from '../cloud.ts'
import { TestAuthority } from '../pki/test-authority.ts'
import type { FreshToken } from './fresh-token.ts'

const quick = { baseMs: 200, capMs: 2_000 }

/** Starts a device whose certificates an authority of its own issues and puts into its enrollment. */
export async function startDevice(
  cloud: SimulatedCloud,
  token: FreshToken,
  registrationId: string,
): Promise<DeviceAgent> {
  const authority = await TestAuthority.createRoot({ commonName: 'story root' })
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
    issuer: functionIssuer('story authority', async ({ csr }) => {
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
    stateFolder: join(token.folder, 'agent'),
    // A story is told in seconds; a fleet is given more time, so that it does not fall upon DPS.
    policy: { debounce: quick, retry: quick, lost: quick, busy: quick },
  })
}
