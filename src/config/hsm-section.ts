import * as v from 'valibot'
import { LeafkeeperError } from '../errors.ts'
import { keyTypeNames } from '../hsm/key-types.ts'
import type { OpenTokenOptions } from '../hsm/open-token.ts'
import { loadProfile, profileNames, type HsmProfile } from '../hsm/profile.ts'
import { members, optional, required } from './members.ts'
import { onlySet } from './only-set.ts'
import { pemFile } from './pem-file.ts'
import { secretFrom } from './secret-value.ts'
import {
  expected,
  nameOrPathFrom,
  oneOf,
  pathFrom,
  pkcs11Uri,
  text,
  wholeNumber,
  type Form,
} from './values.ts'

export const keyType = oneOf(keyTypeNames)

/** The token, and how it is opened. */
export function hsmSection(folder: string) {
  const path = pathFrom(folder)
  const nameOrPath = nameOrPathFrom(folder)
  return members({
    module: required(
      nameOrPath,
      'The PKCS#11 module: the name of a profile in `hsm-config/`, such as `softhsm`, which knows where its module may be; or the path of the module.',
    ),
    profile: optional(
      nameOrPath,
      'How the module differs from the standard, where `module` is a path: the name of a profile, or the path of one.',
      '`softhsm`',
    ),
    environment: optional(
      v.record(v.string(), text, expected('an object with texts')),
      'Environment variables that the module reads once, when it is loaded, such as `SOFTHSM2_CONF`. They hold for the whole process.',
    ),
    token: optional(
      members({
        label: optional(text, 'Its label.'),
        serial: optional(text, 'Its serial number.'),
        uri: optional(pkcs11Uri, 'An RFC 7512 URI; its `token`, `serial`, `manufacturer` and `model` count.'),
      }),
      'Which token: every part that is given must match.',
      'the only one',
    ),
    pin: required(secretFrom(folder), 'The user PIN of the token.'),
    maxSessions: optional(wholeNumber(1), 'Sessions for slow calls, at most.', 'what the profile says, or 8'),
    engine: optional(path, "OpenSSL's `pkcs11.so`.", 'where the profile finds it'),
  })
}

export type HsmSettings = v.InferOutput<ReturnType<typeof hsmSection>>

/**
 * @param path of the section, for errors
 * @throws LeafkeeperError `AGENT_CONFIG_INVALID` where there is no such profile
 */
export function openTokenOptions(path: string, { token = {}, ...hsm }: HsmSettings): OpenTokenOptions {
  const { module, profile, pin, environment, maxSessions, engine } = hsm
  return onlySet({
    module: module.includes('/') ? module : profileOf(`${path}.module`, module),
    profile: profile === undefined ? undefined : profileOf(`${path}.profile`, profile),
    token,
    pin,
    environment,
    maxSessions,
    engine,
  })
}

function profileOf(path: string, name: string): HsmProfile {
  const names = profileNames()
  if (name.includes('/') || names.includes(name)) return loadProfile(name)
  throw new LeafkeeperError('AGENT_CONFIG_INVALID', {
    message: `Expected ${path} to be a path, or the name of a profile (${names.join(', ')}), got ${JSON.stringify(name)}.`,
  })
}

/** A certificate whose key is on a token, under a name of its own. */
export function tokenCertificateSection(folder: string) {
  return members({
    keyName: required(text, "The name of the key on the token, as an agent's; not that of the agent itself."),
    hsm: optional(
      v.pipe(hsmSection(folder), v.metadata<HsmSettings, Form>({ form: 'as `hsm`' })),
      'The token it is on.',
      'the token of the agent',
    ),
  })
}

/** A key that is on the token already. */
export function adoptSection(folder: string) {
  return members({
    key: required(
      pkcs11Uri,
      'The private key: a URI with `id`, `object` or both, such as `pkcs11:object=device-key`.',
    ),
    certificate: optional(
      pemFile(folder),
      'Its certificate, leaf first, and the authorities between it and the root.',
      'on the token',
    ),
  })
}
