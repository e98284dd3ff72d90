import { readFile } from 'node:fs/promises'
import { LeafkeeperError, messageOf } from '../errors.ts'
import { Secret } from '../secret.ts'
import type { TokenDescription } from './key-store.ts'

/**
 * Where the user PIN of a token comes from: a file (its first line), an environment variable, or a callback.
 * A PIN never comes from a command line, where every user of the machine can read it.
 */
export type PinSource =
  | { readonly file: string }
  | { readonly env: string }
  | { readonly callback: (token: TokenDescription) => Secret | Promise<Secret> }

/**
 * Reads the PIN.
 *
 * @throws LeafkeeperError `HSM_PIN_MISSING`
 */
export async function readPin(source: PinSource, token: TokenDescription): Promise<Secret> {
  if ('file' in source) {
    const text = await readFile(source.file, 'utf8').catch((error: unknown) => {
      throw missing(token, `the file ${source.file} could not be read (${messageOf(error)})`, error)
    })
    // An editor's byte order mark is no part of the PIN, and would cost one of the token's tries.
    const pin = text.replace(/^\uFEFF/, '').split(/\r?\n/, 1)[0] ?? ''
    if (pin === '') throw missing(token, `the file ${source.file} is empty`)
    return new Secret(pin)
  }
  if ('env' in source) {
    const pin = process.env[source.env] ?? ''
    if (pin === '') throw missing(token, `the environment variable ${source.env} is not set`)
    return new Secret(pin)
  }
  const pin = await source.callback(token)
  if (pin.reveal() === '') throw missing(token, 'the callback gave an empty one')
  return pin
}

function missing(token: TokenDescription, why: string, cause?: unknown): LeafkeeperError {
  return new LeafkeeperError('HSM_PIN_MISSING', {
    message: `There is no PIN for token "${token.label}": ${why}.`,
    ...(cause === undefined ? {} : { cause }),
  })
}
