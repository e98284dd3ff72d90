import pkcs11, { type Handle, type PKCS11, type TokenInfo } from 'pkcs11js'
import { LeafkeeperError } from '../errors.ts'
import type { TokenDescription } from './key-store.ts'
import type { Pkcs11Module } from './pkcs11-module.ts'
import { hsmError } from './pkcs11-error.ts'
import { parsePkcs11Uri } from './pkcs11-uri.ts'

/** Which token: every part that is given must match. */
export interface TokenSelector {
  readonly label?: string
  readonly serial?: string
  /** RFC 7512; its `token`, `serial`, `manufacturer` and `model` count. */
  readonly uri?: string
}

/** A token that is present, and the slot it is in. */
export interface FoundToken {
  readonly slot: Handle
  readonly description: TokenDescription
  /** `CKF_...` of CK_TOKEN_INFO. */
  readonly flags: number
  /** The most read/write sessions of one application; `undefined` where the token states none. */
  readonly maxSessions: number | undefined
}

/** All initialised tokens that are present. */
export function listTokens(module: Pkcs11Module): readonly FoundToken[] {
  return readSlots(module).filter((token) => (token.flags & pkcs11.CKF_TOKEN_INITIALIZED) !== 0)
}

/** All slots with something in them, blank tokens included. */
export function readSlots(module: Pkcs11Module): readonly FoundToken[] {
  try {
    return module.api.C_GetSlotList(true).flatMap((slot) => {
      const info = tokenInfo(module.api, slot)
      return info === undefined ? [] : [describe(module, slot, info)]
    })
  } catch (thrown) {
    throw hsmError(thrown, `list the tokens of ${module.path}`)
  }
}

/**
 * Finds the one token that matches.
 *
 * @throws LeafkeeperError `HSM_TOKEN_NOT_FOUND`, `HSM_TOKEN_AMBIGUOUS`, `HSM_URI_INVALID`
 */
export function findToken(module: Pkcs11Module, selector: TokenSelector): FoundToken {
  const wanted = toWanted(selector)
  const present = listTokens(module)
  const matching = present.filter(({ description }) =>
    wanted.every(([name, value]) => description[name] === value),
  )
  const [token, other] = matching
  const asked = wanted.map(([name, value]) => `${name} "${value}"`).join(', ') || 'anything'
  if (token === undefined) {
    throw new LeafkeeperError('HSM_TOKEN_NOT_FOUND', {
      message: `No token of ${module.path} matches ${asked}; present: ${names(present)}.`,
    })
  }
  if (other !== undefined) {
    throw new LeafkeeperError('HSM_TOKEN_AMBIGUOUS', {
      message: `More than one token of ${module.path} matches ${asked}: ${names(matching)}.`,
    })
  }
  return token
}

type Wanted = readonly (readonly ['label' | 'serial' | 'manufacturer' | 'model', string])[]

function toWanted(selector: TokenSelector): Wanted {
  const uri = selector.uri === undefined ? {} : parsePkcs11Uri(selector.uri)
  const wanted = [
    ['label', selector.label],
    ['serial', selector.serial],
    ['label', uri.token],
    ['serial', uri.serial],
    ['manufacturer', uri.manufacturer],
    ['model', uri.model],
  ] as const
  return wanted.flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const]))
}

function names(tokens: readonly FoundToken[]): string {
  const list = tokens.map(({ description }) => `"${description.label}" (serial ${description.serial})`)
  return list.length === 0 ? 'none' : list.join(', ')
}

function tokenInfo(api: PKCS11, slot: Handle): TokenInfo | undefined {
  try {
    return api.C_GetTokenInfo(slot)
  } catch {
    // A slot that does not answer must not hide the others.
    return undefined
  }
}

function describe(module: Pkcs11Module, slot: Handle, info: TokenInfo): FoundToken {
  return {
    slot,
    flags: info.flags,
    // 0 is "no limit" and all ones "unknown" (CK_EFFECTIVELY_INFINITE, CK_UNAVAILABLE_INFORMATION).
    maxSessions:
      info.maxRwSessionCount > 0 && info.maxRwSessionCount < 0xffff ? info.maxRwSessionCount : undefined,
    description: {
      module: module.path,
      label: unpad(info.label),
      serial: unpad(info.serialNumber),
      manufacturer: unpad(info.manufacturerID),
      model: unpad(info.model),
    },
  }
}

/** Fixed-width fields are padded with blanks (PKCS#11 v2.40, 3.2); some modules pad with NUL. */
function unpad(text: string): string {
  return text.replace(/[\s\0]+$/, '')
}
