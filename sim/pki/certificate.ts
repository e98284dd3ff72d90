import { X509Certificate } from 'node:crypto'

/** Reads the first certificate of a PEM text. @throws Error that names `what` when there is none */
export function readCertificate(pem: string, what: string): X509Certificate {
  try {
    return new X509Certificate(pem)
  } catch (cause) {
    throw new Error(`${what}: expected a certificate as PEM, got ${JSON.stringify(pem.slice(0, 40))}.`, {
      cause,
    })
  }
}

/** Whether the instant (milliseconds since 1970) lies in the validity period. */
export function isValidAt(certificate: X509Certificate, now: number): boolean {
  return Date.parse(certificate.validFrom) <= now && now <= Date.parse(certificate.validTo)
}

/** The subject's common name; `undefined` when there is none or more than one. */
export function commonNameOf(certificate: X509Certificate): string | undefined {
  // One attribute a line; Node escapes line breaks inside a value.
  const names = certificate.subject.split('\n').filter((line) => line.startsWith('CN='))
  return names.length === 1 ? names[0]?.slice(3) : undefined
}
