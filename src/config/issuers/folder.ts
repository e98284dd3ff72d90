import type * as v from 'valibot'
import { folderIssuer } from '../../issuer/folder-issuer.ts'
import type { Issuer } from '../../issuer/issuer.ts'
import { members, optional, required } from '../members.ts'
import { onlySet } from '../only-set.ts'
import { duration, pathFrom, wholeNumber } from '../values.ts'
import { kind } from './kind.ts'

/** A folder through which requests go out and certificates come in. */
export function folderIssuerSection(folder: string) {
  return members({
    kind: kind('folder', 'Writes `request.csr`, takes `certificate.pem` when it is there.'),
    folder: required(pathFrom(folder), 'One folder for each device; it is made where it is missing.'),
    poll: optional(
      duration({ least: 1 }),
      'How often it is looked into while a certificate is awaited.',
      '`10s`',
    ),
    trustedUser: optional(
      wholeNumber(0),
      "The user id, besides the agent's own and root's, whose certificate files are taken.",
    ),
  })
}

type Settings = v.InferOutput<ReturnType<typeof folderIssuerSection>>

export function folderIssuerOf({ folder, poll, trustedUser }: Settings): Issuer {
  return folderIssuer(onlySet({ folder, pollMs: poll, trustedUser }))
}
