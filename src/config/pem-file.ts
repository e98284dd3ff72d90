import { readFile } from 'node:fs/promises'
import { LeafkeeperError, messageOf } from '../errors.ts'
import { members, required } from './members.ts'
import { pathFrom } from './values.ts'

/** Certificates, or a key, in a file. */
export function pemFile(folder: string) {
  return members({ file: required(pathFrom(folder), 'PEM.') })
}

/**
 * Reads certificates; not keys, whose text stays in their file until they are used.
 *
 * @param path of the member, for errors
 * @throws LeafkeeperError `AGENT_CONFIG_INVALID`
 */
export async function readCertificates(
  path: string,
  settings: { readonly file: string } | undefined,
): Promise<string | undefined> {
  if (settings === undefined) return undefined
  const { file } = settings
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new LeafkeeperError('AGENT_CONFIG_INVALID', {
      message: `Expected ${path}.file to be a PEM file that can be read (${messageOf(cause)}).`,
      cause,
    })
  })
  if (text.includes('-----BEGIN CERTIFICATE-----')) return text
  throw new LeafkeeperError('AGENT_CONFIG_INVALID', {
    message: `Expected ${path}.file to hold PEM certificates; ${file} has none.`,
  })
}
