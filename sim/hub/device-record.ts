import { randomBytes } from 'node:crypto'
import { ServiceError } from '../errors.ts'
import { normalizeThumbprint } from '../pki/thumbprint.ts'

/** The thumbprints a self-signed device may have: SHA-1 or SHA-256, upper-case hex. */
export interface X509Thumbprint {
  readonly primaryThumbprint: string | null
  readonly secondaryThumbprint: string | null
}

/** The keys with which a device signs its tokens: Base64. */
export interface SymmetricKey {
  readonly primaryKey: string | null
  readonly secondaryKey: string | null
}

/** By token, by the thumbprint of the leaf, or by the authority that the chain leads to. */
export type AuthenticationType = 'sas' | 'selfSigned' | 'certificateAuthority'

/** How a hub tells that a device is the one it says it is. */
export interface DeviceAuthentication {
  readonly type: AuthenticationType
  /** Looked at for `selfSigned` only. */
  readonly x509Thumbprint: X509Thumbprint
  /** There for `sas` only. */
  readonly symmetricKey?: SymmetricKey
}

/** The same as it is asked for: what is left out is null. */
export interface DeviceAuthenticationDescription {
  readonly type: AuthenticationType
  /** SHA-1 or SHA-256, in either case, with or without colons. */
  readonly x509Thumbprint?: Partial<X509Thumbprint>
  /** Base64 of 16 to 64 bytes; what is left out is made up by the hub. */
  readonly symmetricKey?: Partial<SymmetricKey>
}

/** A device, as the hub's registry has it. A record is never changed, only replaced. */
export interface DeviceRecord {
  readonly deviceId: string
  /** Differs between two devices of the same name, one made after the other was deleted. */
  readonly generationId: string
  /** Differs between two versions of the record. */
  readonly etag: string
  readonly status: 'enabled' | 'disabled'
  readonly statusReason: string | null
  /** Instants are in ISO 8601; `0001-01-01T00:00:00Z` is never. */
  readonly statusUpdatedTime: string
  readonly connectionState: 'Connected' | 'Disconnected'
  readonly connectionStateUpdatedTime: string
  readonly lastActivityTime: string
  readonly authentication: DeviceAuthentication
  readonly capabilities: { readonly iotEdge: boolean }
}

/** What a new device is made of, and what can be changed afterwards. */
export interface DeviceDescription {
  readonly deviceId: string
  /** Default `enabled`. */
  readonly status?: 'enabled' | 'disabled'
  readonly statusReason?: string | null
  readonly authentication: DeviceAuthenticationDescription
  readonly capabilities?: { readonly iotEdge: boolean }
}

/** Azure's way to say that something has not happened yet. */
export const never = '0001-01-01T00:00:00Z'

/** Thumbprints come in several notations and are kept in one. @throws ServiceError 400 for a key that is none */
export function normalizeAuthentication({
  type,
  x509Thumbprint,
  symmetricKey,
}: DeviceAuthenticationDescription): DeviceAuthentication {
  return {
    type,
    x509Thumbprint: {
      primaryThumbprint: normalize(x509Thumbprint?.primaryThumbprint),
      secondaryThumbprint: normalize(x509Thumbprint?.secondaryThumbprint),
    },
    ...(type === 'sas'
      ? {
          symmetricKey: {
            primaryKey: keyOf(symmetricKey?.primaryKey),
            secondaryKey: keyOf(symmetricKey?.secondaryKey),
          },
        }
      : {}),
  }
}

function normalize(thumbprint: string | null | undefined): string | null {
  return typeof thumbprint === 'string' && thumbprint !== '' ? normalizeThumbprint(thumbprint) : null
}

function keyOf(asked: string | null | undefined): string {
  // The SDKs send empty keys to have new ones made.
  if (asked === undefined || asked === null || asked === '') return newKey()
  const length = Buffer.from(asked, 'base64').length
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(asked) || length < 16 || length > 64) {
    throw new ServiceError(400, 400004, 'A symmetric key is Base64 of 16 to 64 bytes.')
  }
  return asked
}

/** A key as Azure makes it: Base64 of 32 random bytes. */
export function newKey(): string {
  return randomBytes(32).toString('base64')
}
