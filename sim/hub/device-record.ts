import { normalizeThumbprint } from '../pki/thumbprint.ts'

/** The thumbprints a self-signed device may have: SHA-1 or SHA-256, upper-case hex. */
export interface X509Thumbprint {
  readonly primaryThumbprint: string | null
  readonly secondaryThumbprint: string | null
}

/** How a hub tells that a device is the one it says it is. */
export type DeviceAuthentication =
  | { readonly type: 'selfSigned'; readonly x509Thumbprint: X509Thumbprint }
  | { readonly type: 'certificateAuthority' }

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
  readonly authentication: DeviceAuthentication
}

/** Thumbprints come in several notations and are kept in one. */
export function normalizeAuthentication(authentication: DeviceAuthentication): DeviceAuthentication {
  switch (authentication.type) {
    case 'certificateAuthority':
      return { type: 'certificateAuthority' }
    case 'selfSigned': {
      const { primaryThumbprint, secondaryThumbprint } = authentication.x509Thumbprint
      return {
        type: 'selfSigned',
        x509Thumbprint: {
          primaryThumbprint: primaryThumbprint === null ? null : normalizeThumbprint(primaryThumbprint),
          secondaryThumbprint: secondaryThumbprint === null ? null : normalizeThumbprint(secondaryThumbprint),
        },
      }
    }
  }
}
