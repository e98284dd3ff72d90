import { readFile } from 'node:fs/promises'
import { messageOf, type LeafkeeperError } from './errors.ts'
import { Secret } from './secret.ts'

/**
 * Where a secret comes from: a file (its first line), an environment variable, or a callback. It never comes from a
 * command line, where every user of the machine can read it.
 */
export type SecretSource =
  { readonly file: string } | { readonly env: string } | { readonly callback: () => Secret | Promise<Secret> }

/**
 * Reads a secret.
 *
 * @param missing Makes the error where there is none; `why` ends no sentence.
 */
export async function readSecret(
  source: SecretSource,
  missing: (why: string, cause?: unknown) => LeafkeeperError,
): Promise<Secret> {
  if ('file' in source) {
    const text = await readFile(source.file, 'utf8').catch((error: unknown) => {
      throw missing(`the file ${source.file} could not be read (${messageOf(error)})`, error)
    })
    // An editor's byte order mark is no part of the secret, and a wrong PIN would cost one of the token's tries.
    const secret = text.replace(/^\uFEFF/, '').split(/\r?\n/, 1)[0] ?? ''
    if (secret === '') throw missing(`the file ${source.file} is empty`)
    return new Secret(secret)
  }
  if ('env' in source) {
    const secret = process.env[source.env] ?? ''
    if (secret === '') throw missing(`the environment variable ${source.env} is not set`)
    return new Secret(secret)
  }
  const secret = await source.callback()
  if (secret.reveal() === '') throw missing('the callback gave an empty one')
  return secret
}
