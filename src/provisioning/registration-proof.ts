import { createHmac } from 'node:crypto'
import { createSecureContext, type SecureContext } from 'node:tls'
import type azureProvisioningMqtt from 'azure-iot-provisioning-device-mqtt'
import type { Secret } from '../secret.ts'
import type { DeviceCredential } from '../transport/credential.ts'

type Authenticated = Pick<azureProvisioningMqtt.Mqtt, 'setAuthentication' | 'setSharedAccessSignature'>

/** What one registration is authenticated with. */
export interface RegistrationProof {
  readonly registrationId: string
  /** What TLS shows; see {@link DeviceCredential.secureContext}. */
  secureContext(trustedAuthorities: string | undefined): SecureContext
  /** Gives the official transport what it needs to say beside that. */
  authenticate(transport: Authenticated): void
}

/** How long a signature is good for; longer than any registration takes, and than clocks differ. In seconds. */
const signatureLifetime = 60 * 60

/** The device's certificate, with its key inside the HSM. */
export function proofByCertificate(credential: DeviceCredential): RegistrationProof {
  return {
    registrationId: credential.commonName,
    secureContext: (trustedAuthorities) => credential.secureContext(trustedAuthorities),
    authenticate(transport) {
      transport.setAuthentication({ cert: credential.chain, key: credential.keyUri })
    },
  }
}

/**
 * A signature by a symmetric key: `SharedAccessSignature sr={idScope}/registrations/{id}&sig=...&skn=registration&se=...`.
 *
 * @param key Base64, as DPS shows it
 */
export function proofBySymmetricKey(registrationId: string, idScope: string, key: Secret): RegistrationProof {
  return {
    registrationId,
    secureContext: (ca) => createSecureContext(ca === undefined ? {} : { ca }),
    authenticate(transport) {
      const resource = `${idScope}/registrations/${registrationId}`
      const expiry = Math.floor(Date.now() / 1000) + signatureLifetime
      const signature = createHmac('sha256', Buffer.from(key.reveal(), 'base64'))
        .update(`${resource}\n${expiry}`)
        .digest('base64')
      transport.setSharedAccessSignature(
        `SharedAccessSignature sr=${resource}&sig=${encodeURIComponent(signature)}&skn=registration&se=${expiry}`,
      )
    },
  }
}
