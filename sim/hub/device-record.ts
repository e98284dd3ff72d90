import { normalizeThumbprint } from '../pki/thumbprint.ts'

/** The thumbprints a self-signed device may have: SHA-1 or SHA-256, upper-case hex. */
export interface X509Thumbprint {
  readonly primaryThumbprint: string | null
  readonly secondaryThumbprint: string | null
}

/** How a hub tells that a device is the one it says it is. */
export interface DeviceAuthentication {
  /** By the thumbprint of the leaf, or by the authority that the chain leads to. */
  readonly type: 'selfSigned' | 'certificateAuthority'
  /** Looked at for `selfSigned` only. */
  readonly x509Thumbprint: X509Thumbprint
}

/** The same as it is asked for: what is left out is null. */
export interface DeviceAuthenticationDescription {
  readonly type: DeviceAuthentication['type']
  /** SHA-1 or SHA-256, in either case, with or without colons. */
  readonly x509Thumbprint?: Partial<X509Thumbprint>
}

/** A device, as the hub's registry has it. A record is never changed, only replaced. */
export interface DeviceRecord {
  readonly deviceId: string
  /** Differs between two devices of the same name, one made after the other was deleted. */
  readonly generationId: string
  /** Differs between two versions of the record. */
  readonly etag: string
  readonly status: 'enabled' | 'disabled'
  readonly connectionState: 'Connected' | 'Disconnected'
  readonly authentication: DeviceAuthentication
}

/** What a new device is made of, and what can be changed afterwards. */
export interface DeviceDescription {
  readonly deviceId: string
  /** Default `enabled`. */
  readonly status?: 'enabled' | 'disabled'
  readonly authentication: DeviceAuthenticationDescription
}

/** Thumbprints come in several notations and are kept in one. */
export function normalizeAuthentication({
  type,
  x509Thumbprint,
}: DeviceAuthenticationDescription): DeviceAuthentication {
  return {
    type,
    x509Thumbprint: {
      primaryThumbprint: normalize(x509Thumbprint?.primaryThumbprint),
      secondaryThumbprint: normalize(x509Thumbprint?.secondaryThumbprint),
    },
  }
}

function normalize(thumbprint: string | null | undefined): string | null {
  return typeof thumbprint === 'string' ? normalizeThumbprint(thumbprint) : null
}
