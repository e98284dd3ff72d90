import * as v from 'valibot'
import { choice, has, members, optional, required } from './members.ts'
import { tokenCertificateSection } from './hsm-section.ts'
import { secretFrom } from './secret-value.ts'
import { pemFile } from './pem-file.ts'
import { duration, expected, host, text } from './values.ts'

/** DPS, and what the device shows to it. */
export function provisioningSection(folder: string) {
  const symmetricKey = members({
    symmetricKey: required(
      secretFrom(folder),
      "The device's own key, Base64: of its individual enrollment, or derived from that of its group.",
    ),
  })
  const certificate = members({
    certificate: required(tokenCertificateSection(folder), 'A certificate whose key is on a token.'),
  })
  return members({
    idScope: required(text, 'The id scope of the service, such as `0ne00000A0A`.'),
    host: optional(host, "Another host than Azure's global one.", '`global.azure-devices-provisioning.net`'),
    onboarding: optional(
      choice<typeof symmetricKey | typeof certificate>([symmetricKey, certificate], (value) =>
        has(value, 'certificate') ? certificate : symmetricKey,
      ),
      'What the device registers with in place of the certificate that it uses at the hub: for devices whose certificates the service itself issues.',
      'that certificate',
    ),
    pollingInterval: optional(
      duration({ least: 1 }),
      'Between two questions where DPS names no time.',
      '`2s`',
    ),
    registrationTimeout: optional(duration({ least: 1 }), 'For a whole registration.', '`3m`'),
  })
}

/** The hub, and what it is told. */
export function hubSection() {
  return members({
    host: optional(host, 'The hub of a device that does not use DPS.'),
    deviceId: optional(text, 'What that hub calls the device.', 'the registration id'),
    productInfo: optional(text, 'Added to the user agent that the hub logs.'),
  })
}

/** How servers are reached. */
export function networkSection(folder: string) {
  return members({
    trustedAuthorities: optional(
      pemFile(folder),
      'The authorities that may sign server certificates.',
      "Node's own list",
    ),
    connectTo: optional(
      v.record(v.string(), host, expected('an object with a host for each host')),
      'Where to connect in place of a host: `host:port` by host name, or by `*.domain` for all hosts below it. The server still has to prove the original name.',
    ),
    connectTimeout: optional(duration({ least: 1 }), 'For TCP and TLS together.', '`20s`'),
    answerTimeout: optional(duration({ least: 1 }), 'For each answer of a server.', '`30s`'),
  })
}
