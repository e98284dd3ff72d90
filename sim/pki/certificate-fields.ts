import { randomBytes } from 'node:crypto'

const day = 24 * 60 * 60 * 1000

/** From when to when a certificate is valid. */
export interface Validity {
  readonly notBefore: Date
  readonly notAfter: Date
}

/** From yesterday on (clocks differ a little), for so many days from now. */
export function validFor(days: number, now: number = Date.now()): Validity {
  return { notBefore: new Date(now - day), notAfter: new Date(now + days * day) }
}

/** Sixteen random bytes in hex, positive and without a leading zero byte (RFC 5280, 4.1.2.2). */
export function randomSerialNumber(): string {
  const bytes = randomBytes(16)
  bytes.writeUInt8((bytes.readUInt8(0) & 0x7f) | 0x40, 0)
  return bytes.toString('hex')
}
