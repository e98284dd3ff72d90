/** What a device process and the test that started it say to each other, one JSON object a line. */

/** A moment in a roll: the nth time that something of this name is done since the roll was ordered. */
export interface Point {
  /** `C_Sign`, `write journal`, `hub > PUBLISH`, `issuer answer`, ... */
  readonly name: string
  readonly nth: number
}

/** On which side of what is done; `torn` is a write of which half has reached the file. */
export type Side = 'before' | 'torn' | 'after'

/** What goes wrong there. */
export type Harm =
  /** SIGKILL, as when power is lost. */
  | { readonly kind: 'kill'; readonly at: Point; readonly side: Side }
  /**
   * The disk answers with this error in place of doing it; `torn` has written half. A full disk stays full until a
   * message has been acknowledged meanwhile.
   */
  | { readonly kind: 'ENOSPC' | 'EIO'; readonly at: Point; readonly side: 'before' | 'torn' }

/** Points are written down, or harm is done at one of them. */
export interface Watch {
  readonly harm: Harm | null
  /** The file that points are written to when no harm is done. */
  readonly trace: string
}

/** What the device is told. */
export type Order =
  | { readonly kind: 'roll'; readonly mode: 'expiry' | 'breach'; readonly watch: Watch }
  | { readonly kind: 'certificate'; readonly number: number; readonly chain: string }
  | { readonly kind: 'stop' }

/** What the device says. */
export type Word =
  | { readonly kind: 'certificateWanted'; readonly number: number; readonly csr: string }
  /** A hub has acknowledged the message with this body. */
  | { readonly kind: 'acknowledged'; readonly body: string }
  /** Connected, nothing under way, one generation. `harmed`: the disk has refused something since the order. */
  | { readonly kind: 'settled'; readonly audit: Audit; readonly harmed: boolean }
  | { readonly kind: 'problem'; readonly text: string }
  | { readonly kind: 'rollFailed'; readonly text: string }

/** What a settled device is made of. */
export interface Audit {
  readonly thumbprint: string
  readonly hub: string
  /** How many objects of each class the token holds, whoever made them. */
  readonly objects: { readonly private: number; readonly public: number; readonly certificate: number }
}

/** What a device process is started with, besides its PIN and SoftHSM's configuration in the environment. */
export interface DeviceSetUp {
  readonly registrationId: string
  /** Everything the device writes is in here. */
  readonly folder: string
  readonly module: string
  readonly tokenLabel: string
  /** The file of the shim's rules. */
  readonly rules: string
  readonly provisioningHost: string
  readonly idScope: string
  readonly trustedAuthorities: string
  readonly connectTo: Readonly<Record<string, string>>
  /** Points that count from the start of the process until the device is settled, not only in a roll. */
  readonly watchStart: Watch | null
}

/** The environment variable with the set-up as JSON, and the one with the PIN. */
export const setUpVariable = 'LEAFKEEPER_CRASH_SET_UP'
export const pinVariable = 'LEAFKEEPER_CRASH_PIN'
