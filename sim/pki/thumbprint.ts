import { X509Certificate } from 'node:crypto'

/** The SHA-256 thumbprint of a certificate (its first, in PEM with several): upper-case hex without separators. */
export function thumbprint256(certificate: X509Certificate | string): string {
  const parsed = typeof certificate === 'string' ? new X509Certificate(certificate) : certificate
  return normalizeThumbprint(parsed.fingerprint256)
}

/** The SHA-1 thumbprint, which hubs accept in device records too. */
export function thumbprint1(certificate: X509Certificate): string {
  return normalizeThumbprint(certificate.fingerprint)
}

/** Thumbprints come with or without colons and spaces, in either case; they are kept in one form. */
export function normalizeThumbprint(thumbprint: string): string {
  return thumbprint.replaceAll(/[:\s]/g, '').toUpperCase()
}
