import { commonNameOf, isValidAt } from '../pki/certificate.ts'
import type { PresentedChain } from '../pki/presented-chain.ts'
import { thumbprint1, thumbprint256 } from '../pki/thumbprint.ts'
import type { TrustedAuthorities } from '../pki/trusted-authorities.ts'
import type { DeviceRecord, X509Thumbprint } from './device-record.ts'

/** Why a hub does not let a device in. The code is the one Azure logs; the device only sees CONNACK 5. */
export interface Refusal {
  readonly errorCode: 401003 | 403012 | 404001
  readonly reason: string
}

/**
 * Decides whether a hub accepts a device, from its record and from what it has presented.
 *
 * @param now - milliseconds since 1970
 * @returns `undefined` when it is accepted
 */
export function refusalOf(
  deviceId: string,
  record: DeviceRecord | undefined,
  presented: PresentedChain,
  authorities: TrustedAuthorities,
  now: number,
): Refusal | undefined {
  if (record === undefined) return { errorCode: 404001, reason: `There is no device "${deviceId}".` }
  if (record.status === 'disabled') return { errorCode: 403012, reason: `Device "${deviceId}" is disabled.` }
  const { leaf } = presented
  if (leaf === undefined) return unauthorized('Expected a client certificate, none was presented.')
  if (!isValidAt(leaf, now)) {
    return unauthorized(
      `The certificate is valid from ${leaf.validFrom} to ${leaf.validTo}, which is not now.`,
    )
  }
  switch (record.authentication.type) {
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
      return authorities.reach(presented, now)
        ? undefined
        : unauthorized('The certificate does not lead to an authority that the hub trusts.')
    }
  }
}

function hasThumbprint(expected: X509Thumbprint, thumbprint: string): boolean {
  return expected.primaryThumbprint === thumbprint || expected.secondaryThumbprint === thumbprint
}

function unauthorized(reason: string): Refusal {
  return { errorCode: 401003, reason }
}
