import type * as v from 'valibot'
import { estIssuer } from '../../issuer/est-issuer.ts'
import { longestEstMs, type EstBootstrap } from '../../issuer/est-options.ts'
import type { Issuer } from '../../issuer/issuer.ts'
import type { NetworkOptions } from '../../transport/network.ts'
import { openTokenOptions, tokenCertificateSection, type HsmSettings } from '../hsm-section.ts'
import { choice, has, members, optional, required } from '../members.ts'
import { onlySet } from '../only-set.ts'
import { pemFile, readCertificates } from '../pem-file.ts'
import { secretFrom } from '../secret-value.ts'
import { anyText, duration, host, text } from '../values.ts'
import { kind } from './kind.ts'

/** Enrollment over Secure Transport (RFC 7030). */
export function estIssuerSection(folder: string) {
  const inFiles = members({
    certificate: required(pemFile(folder), 'The certificate, leaf first.'),
    key: required(pemFile(folder), 'Its key, without a passphrase.'),
  })
  const onToken = tokenCertificateSection(folder)
  return members({
    kind: kind('est', 'An EST server (RFC 7030).'),
    server: required(host, 'Its host name; `host:port` where the port is not 443.'),
    label: optional(text, 'The label of the path, where the server has several authorities or profiles.'),
    trustedAuthorities: optional(
      pemFile(folder),
      "The authorities that may sign the server's certificate.",
      'those of `network`',
    ),
    anchors: optional(
      pemFile(folder),
      'The authorities at which the chain of an issued certificate has to end.',
      'those that the server publishes',
    ),
    bootstrap: optional(
      members({
        basic: optional(
          members({
            user: required(anyText, 'Empty where the password belongs to none.'),
            password: required(secretFrom(folder), 'The password.'),
          }),
          'HTTP Basic, inside TLS.',
        ),
        certificate: optional(
          choice<typeof inFiles | typeof onToken>([inFiles, onToken], (value) =>
            has(value, 'keyName') ? onToken : inFiles,
          ),
          "TLS with a certificate from elsewhere, such as the manufacturer's.",
        ),
      }),
      'What the device shows for its first certificate.',
    ),
    deadline: optional(duration({ least: 1, most: longestEstMs }), 'How long one try may take.', '`1m`'),
    retryAfter: optional(
      duration({ least: 1 }),
      'When a certificate that is not there yet is asked for again, where the server does not say.',
      '`1m`',
    ),
  })
}

type Settings = v.InferOutput<ReturnType<typeof estIssuerSection>>

/** @param path of the section, for errors */
export async function estIssuerOf(
  path: string,
  settings: Settings,
  { hsm, network }: { readonly hsm: HsmSettings; readonly network: NetworkOptions },
): Promise<Issuer> {
  const { server, label, trustedAuthorities, anchors, bootstrap, deadline, retryAfter } = settings
  return estIssuer({
    ...network,
    ...onlySet({
      server,
      label,
      trustedAuthorities:
        (await readCertificates(`${path}.trustedAuthorities`, trustedAuthorities)) ??
        network.trustedAuthorities,
      anchors: await readCertificates(`${path}.anchors`, anchors),
      bootstrap: bootstrap === undefined ? undefined : bootstrapOf(path, bootstrap, hsm),
      deadlineMs: deadline,
      retryAfterMs: retryAfter,
    }),
  })
}

function bootstrapOf(
  path: string,
  { basic, certificate }: Required<Settings>['bootstrap'],
  agentHsm: HsmSettings,
): EstBootstrap {
  if (certificate === undefined) return onlySet({ basic })
  if (!('keyName' in certificate)) return onlySet({ basic, certificate })
  const { keyName, hsm = agentHsm } = certificate
  const token = openTokenOptions(`${path}.bootstrap.certificate.hsm`, hsm)
  return onlySet({ basic, certificate: { token, keyName } })
}
