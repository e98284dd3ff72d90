import { createHmac, randomBytes } from 'node:crypto'
import type { Secret } from '../secret.ts'
import type { TokenDescription } from './key-store.ts'

/** Only keyed digests are kept, under a key that dies with the process. */
const key = randomBytes(32)
const refused = new Set<string>()

/** A digest of a PIN for one token, to compare PINs without keeping them; the same by every path of the module. */
export function pinDigest(token: TokenDescription, pin: Secret): string {
  return createHmac('sha256', key)
    .update(JSON.stringify([token.manufacturer, token.model, token.serial, token.label, pin.reveal()]))
    .digest('base64')
}

/**
 * Remembers that the token refused this PIN. The memory is the process's and not one agent's, since the token
 * counts wrong tries whoever makes them, and locks.
 */
export function rememberRefused(token: TokenDescription, pin: Secret): void {
  refused.add(pinDigest(token, pin))
}

/** Whether the token already refused this PIN in this process: it is not tried again. */
export function wasRefused(token: TokenDescription, pin: Secret): boolean {
  return refused.has(pinDigest(token, pin))
}
