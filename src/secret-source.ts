import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { messageOf, type LeafkeeperError } from './errors.ts'
import { Secret } from './secret.ts'

/**
 * Where a secret comes from: a file (its first line), an environment variable, a credential that systemd hands to the
 * service by this name (`LoadCredential=`, systemd.exec(5); its first line), or a callback. It never comes from a
 * command line, where every user of the machine can read it.
 */
export type SecretSource = NamedSecretSource | { readonly callback: () => Secret | Promise<Secret> }

/** A source that can be named in a file. */
export type NamedSecretSource =
  { readonly file: string } | { readonly env: string } | { readonly credential: string }

/**
 * Reads a secret.
 *
 * @param missing Makes the error where there is none; `why` ends no sentence.
 */
export async function readSecret(
  source: SecretSource,
  missing: (why: string, cause?: unknown) => LeafkeeperError,
): Promise<Secret> {
  if ('file' in source) return firstLine(source.file, `the file ${source.file}`, missing)
  if ('credential' in source) {
    const { credential } = source
    // The name of a credential is that of a file (systemd.exec(5)): nothing else is read through it.
    if (!/^[^/]+$/.test(credential) || /^\.\.?$/.test(credential))
      throw missing(`${JSON.stringify(credential)} is not the name of a credential`)
    const folder = process.env['CREDENTIALS_DIRECTORY'] ?? ''
    if (folder === '')
      throw missing(
        `systemd has not handed over the credential ${credential}: CREDENTIALS_DIRECTORY is not set`,
      )
    return firstLine(join(folder, credential), `the credential ${credential}`, missing)
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

async function firstLine(
  path: string,
  name: string,
  missing: (why: string, cause?: unknown) => LeafkeeperError,
): Promise<Secret> {
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    throw missing(`${name} could not be read (${messageOf(error)})`, error)
  })
  // An editor's byte order mark is no part of the secret, and a wrong PIN would cost one of the token's tries.
  const secret = text.replace(/^\uFEFF/, '').split(/\r?\n/, 1)[0] ?? ''
  if (secret === '') throw missing(`${name} is empty`)
  return new Secret(secret)
}
