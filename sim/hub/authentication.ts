import { sasRefusal } from '../http/sas.ts'
import { commonNameOf, isValidAt } from '../pki/certificate.ts'
import type { PresentedChain } from '../pki/presented-chain.ts'
import { thumbprint1, thumbprint256 } from '../pki/thumbprint.ts'
import type { TrustedAuthorities } from './trusted-authorities.ts'
import type { DeviceRecord, X509Thumbprint } from './device-record.ts'

/** Why a hub does not let a device in. The code is the one Azure logs; the device only sees CONNACK 5. */
export interface Refusal {
  readonly errorCode: 401003 | 403012 | 404001
  readonly reason: string
}

/** What a device shows to be let in. */
export interface PresentedCredentials {
  readonly chain: PresentedChain
  /** The password of the CONNECT, which is a token for devices that have keys. */
  readonly token: string | undefined
}

/** What a hub goes by. */
export interface DoorRules {
  readonly hostName: string
  readonly authorities: TrustedAuthorities
  /** The keys of a shared access policy that lets devices in, such as `device`; empty for every other. */
  readonly policyKeys: (policyName: string) => readonly string[]
  /** Whether the leaf was issued to this very device by the service itself. */
  readonly wasIssued: (record: DeviceRecord, chain: PresentedChain) => boolean
  /** Milliseconds since 1970. */
  readonly now: number
}

/** Decides whether a hub accepts a device. @returns `undefined` when it is accepted */
export function refusalOf(
  deviceId: string,
  record: DeviceRecord | undefined,
  { chain, token }: PresentedCredentials,
  rules: DoorRules,
): Refusal | undefined {
  if (record === undefined) return { errorCode: 404001, reason: `There is no device "${deviceId}".` }
  if (record.status === 'disabled') return { errorCode: 403012, reason: `Device "${deviceId}" is disabled.` }
  if (record.authentication.type === 'sas' && token !== undefined) {
    return refusalOfToken(record, token, rules)
  }
  const { leaf } = chain
  if (leaf === undefined) {
    return unauthorized(
      record.authentication.type === 'sas'
        ? 'Expected a token as the password, none was sent.'
        : 'Expected a client certificate, none was presented.',
    )
  }
  if (!isValidAt(leaf, rules.now)) {
    return unauthorized(
      `The certificate is valid from ${leaf.validFrom} to ${leaf.validTo}, which is not now.`,
    )
  }
  if (rules.wasIssued(record, chain)) return undefined
  switch (record.authentication.type) {
    case 'sas':
      return unauthorized('Expected a token as the password, none was sent.')
    case 'selfSigned': {
      const { x509Thumbprint } = record.authentication
      if (
        hasThumbprint(x509Thumbprint, thumbprint256(leaf)) ||
        hasThumbprint(x509Thumbprint, thumbprint1(leaf))
      ) {
        return undefined
      }
      return unauthorized(
        `Thumbprint does not match configuration: expected ${x509Thumbprint.primaryThumbprint ?? 'none'} or ` +
          `${x509Thumbprint.secondaryThumbprint ?? 'none'}, got ${thumbprint256(leaf)}.`,
      )
    }
    case 'certificateAuthority': {
      const name = commonNameOf(leaf)
      if (name !== deviceId) {
        return unauthorized(`Expected a certificate for "${deviceId}", got one for "${name ?? 'no one'}".`)
      }
      return rules.authorities.reach(chain, rules.now)
        ? undefined
        : unauthorized('The certificate does not lead to an authority that the hub trusts.')
    }
  }
}

function refusalOfToken(
  { deviceId, authentication }: DeviceRecord,
  token: string,
  { hostName, policyKeys, now }: DoorRules,
): Refusal | undefined {
  const { primaryKey = null, secondaryKey = null } = authentication.symmetricKey ?? {}
  const reason = sasRefusal(token, {
    resource: `${hostName}/devices/${deviceId}`,
    keysOf: (policyName) =>
      policyName === undefined
        ? [primaryKey, secondaryKey].filter((key) => key !== null)
        : policyKeys(policyName),
    now,
  })
  return reason === undefined ? undefined : unauthorized(reason)
}

function hasThumbprint(expected: X509Thumbprint, thumbprint: string): boolean {
  return expected.primaryThumbprint === thumbprint || expected.secondaryThumbprint === thumbprint
}

function unauthorized(reason: string): Refusal {
  return { errorCode: 401003, reason }
}
