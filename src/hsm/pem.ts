import type { Pem } from '../brands.ts'

const block = /-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]*?)-----END CERTIFICATE-----/g

/** The DER of every certificate in a text, in its order (RFC 7468, 5.1); text between them is passed over. */
export function certificatesInPem(text: string): Buffer[] {
  return [...text.matchAll(block)].map(([, body = '']) => Buffer.from(body, 'base64'))
}

/** Certificates as PEM text with 64 characters a line (RFC 7468, 2). */
export function toPem(certificates: readonly Uint8Array[], label = 'CERTIFICATE'): Pem {
  return certificates
    .map((der) => {
      const lines =
        Buffer.from(der)
          .toString('base64')
          .match(/.{1,64}/g) ?? []
      return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`
    })
    .join('') as Pem
}
