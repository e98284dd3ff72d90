import type { ErrorCode } from '../error-table.ts'

export type { ErrorCode } from '../error-table.ts'

/** An instant: milliseconds since 1970-01-01T00:00:00Z. Deadlines are always instants, never durations. */
export type Instant = number

/** Numbers every effect that has a result; the result carries it back, so that a late one is recognised. */
export type Operation = number

/** The key types a roll can ask for; kept equal to the HSM's own by a type test. */
export type RollKeyType = 'EC-P256' | 'EC-P384' | 'RSA-2048' | 'RSA-3072'

/**
 * Why the key is replaced. `expiry` keeps the old generation for the overlap; `breach` destroys it as soon as the
 * new one is in use; `bootstrap` is the first generation of a device.
 */
export type RollMode = 'expiry' | 'breach' | 'bootstrap'

/** What the machine knows of a certificate. */
export interface CertificateFacts {
  readonly commonName: string
  /** SHA-256, upper-case hexadecimal. */
  readonly thumbprint: string
  readonly notBefore: Instant
  readonly notAfter: Instant
  /** When the first certificate of an authority in the chain expires, where that is before `notAfter`. */
  readonly chainNotAfter?: Instant
}

/** A key pair of this agent on the token, and its certificate once there is one. */
export interface Generation {
  readonly number: number
  /** `CKA_ID`, lower-case hexadecimal; `null` while it is not known whether the key was made. */
  readonly keyId: string | null
  readonly certificate: CertificateFacts | null
  /** When it is destroyed; `null` while it is wanted. */
  readonly retireAt: Instant | null
  /** A key that may be known to others: never used again, whatever else fails. */
  readonly compromised: boolean
}

/** The hub that DPS, or the configuration, names for this device. */
export interface Assignment {
  readonly hub: string
  readonly deviceId: string
}

/** A registration that is under way (`operation`) or will be tried again (`retryAt`). */
export interface RefreshWork {
  readonly operation: Operation | null
  readonly attempt: number
  readonly retryAt: Instant
}

/** Where the device stands with its hub. */
export type Connection =
  /** Not started, stopped, or without any identity yet. */
  | { readonly phase: 'offline' }
  /** Registering with DPS while there is no hub connection. */
  | {
      readonly phase: 'provisioning'
      readonly operation: Operation
      readonly generation: number
      readonly attempt: number
      /** Generations that were refused, or could not be used, in this round. */
      readonly refused: readonly number[]
      /** What comes next when DPS does not answer. */
      readonly otherwise: 'connect' | 'register'
    }
  | {
      readonly phase: 'connecting'
      readonly operation: Operation
      readonly generation: number
      readonly attempt: number
      readonly refused: readonly number[]
      readonly assignment: Assignment
      /** DPS has just sent this generation to that hub. */
      readonly registered: boolean
    }
  | {
      readonly phase: 'connected'
      readonly operation: Operation
      readonly generation: number
      readonly assignment: Assignment
      readonly since: Instant
      /** Failed attempts before this connection; forgotten when it has proved stable. */
      readonly attempt: number
      /** A registration of the same generation beside the connection; it repeats until DPS has answered. */
      readonly registering: RefreshWork | null
      /** A connection to another hub that is being made beside this one. */
      readonly moving: Operation | null
    }
  | {
      readonly phase: 'waiting'
      readonly until: Instant
      readonly next: 'connect' | 'register'
      readonly attempt: number
      readonly code: ErrorCode | null
      /** Waits for the roll that is about to connect with the new generation, no longer than `until`. */
      readonly forRoll: boolean
    }
  /** Hub and DPS refuse every generation the device has. It keeps its keys and asks again slowly. */
  | { readonly phase: 'refused'; readonly until: Instant; readonly attempt: number; readonly code: ErrorCode }
  /** Only a person can help. */
  | { readonly phase: 'halted'; readonly code: ErrorCode }

/** What a roll is about: fixed when it starts, the same after a restart. */
export interface RollPlan {
  /** The new generation. */
  readonly generation: number
  readonly mode: RollMode
  readonly keyType: RollKeyType
  readonly requestId: string
  readonly startedAt: Instant
  /** How often this roll was begun anew; a bootstrap is repeated until it works. */
  readonly round: number
}

/** A roll that was asked for and has not begun. */
export interface RollRequest {
  readonly mode: RollMode
  readonly keyType: RollKeyType
  readonly requestId: string
}

/** A step of the roll that is under way (`operation`) or will be tried again (`retryAt`). */
interface RollWork {
  readonly plan: RollPlan
  readonly operation: Operation | null
  readonly attempt: number
  readonly retryAt: Instant
}

/** Where the device stands with its next certificate. */
export type Roll =
  | { readonly phase: 'idle' }
  | ({ readonly phase: 'generating' } & RollWork)
  | ({ readonly phase: 'requesting'; readonly ticket: string | null } & RollWork)
  | ({ readonly phase: 'storing'; readonly chain: string; readonly certificate: CertificateFacts } & RollWork)
  /** The new generation is complete; DPS is asked at `proveAt`. */
  | {
      readonly phase: 'staged'
      readonly plan: RollPlan
      readonly attempt: number
      readonly proveAt: Instant
      /** Why it is not in use yet; `null` before the first try. */
      readonly code: ErrorCode | null
    }
  | {
      readonly phase: 'proving'
      readonly plan: RollPlan
      readonly attempt: number
      readonly operation: Operation
      /** A breach roll that begins as soon as the outcome of this step is known. */
      readonly overtakenBy?: RollRequest
    }
  | {
      readonly phase: 'switching'
      readonly plan: RollPlan
      readonly attempt: number
      readonly operation: Operation
      readonly assignment: Assignment
      readonly overtakenBy?: RollRequest
    }
  /** The new generation is in use; old ones are still on the token. */
  | { readonly phase: 'retiring'; readonly plan: RollPlan; readonly next: RollRequest | null }
  /** The roll was given up; the active generation was never touched. */
  | {
      readonly phase: 'failed'
      readonly plan: RollPlan
      readonly code: ErrorCode
      readonly next: RollRequest | null
      /** A bootstrap begins again by itself, since the device has nothing else; other rolls when they are due or asked for. */
      readonly retryAt: Instant | null
    }

/** The destruction that is under way or due again; one at a time. */
export interface Destruction {
  readonly generation: number
  readonly operation: Operation | null
  readonly attempt: number
  readonly retryAt: Instant
}

/** A range of delays that doubles with each attempt, in milliseconds. */
export interface Backoff {
  readonly baseMs: number
  readonly capMs: number
  /** How much of the first delay is left to chance, 0 to 1. Later ones lie in the upper half. Default 0.5. */
  readonly spread?: number
}

/** The schedules that failures are met with. */
export type ScheduleName = 'retry' | 'busy' | 'refusal' | 'lost' | 'debounce'

/** When the expiry of the active certificate is so near that no wait may be long. */
export interface Emergency {
  /** The last part of the certificate's lifetime, 0 to 1. */
  readonly lifetimeShare: number
  /** The longest such part, in milliseconds, for certificates that live for years. */
  readonly windowMs: number
  /** The longest wait meanwhile, in milliseconds; it overrides every schedule and every Retry-After. */
  readonly longestWaitMs: number
}

/** When a certificate is rolled without anybody asking. How far into the jitter, its thumbprint decides. */
export type RollSchedule =
  /** At this share of its life, 0 to 1, or earlier by up to `jitterShare` of its life. */
  | { readonly kind: 'at'; readonly share: number; readonly jitterShare: number }
  /** This long before its end, or earlier by up to `jitterMs`. */
  | { readonly kind: 'before'; readonly beforeMs: number; readonly jitterMs: number }

/** The rolls that the machine begins by itself. */
export interface OwnRolls {
  readonly keyType: RollKeyType
  /** `null`: only in a window that the cloud names. */
  readonly schedule: RollSchedule | null
}

/** When the cloud wants the device to roll. */
export interface RollWindow {
  readonly start: Instant
  /** Not before `start`. */
  readonly end: Instant
  readonly mode: Exclude<RollMode, 'bootstrap'>
  /** How it was named: a twin that has none any more takes back only its own. */
  readonly source: 'twin' | 'method'
}

/** The numbers the machine decides by. */
export interface Policy {
  /** Whether the device registers with DPS; without it the assignment is fixed. */
  readonly dps: boolean
  /** How long the old generation of an expiry roll stays on the token after the switch. */
  readonly overlapMs: number
  /** What passes and is cheap to try again: a server that cannot be reached, a token that fails. */
  readonly retry: Backoff
  /** A service that is there and cannot serve: throttled, failing, not answering. */
  readonly busy: Backoff
  /** Refusals: asking again helps only after somebody has changed something. */
  readonly refusal: Backoff
  /** A connection that was up has ended, perhaps that of a whole fleet. */
  readonly lost: Backoff
  /** Pause between the hub's `unauthorized` and the registration; doubles when it happens again. */
  readonly debounce: Backoff
  /** The longest wait that is taken from another side's Retry-After, in milliseconds. */
  readonly longestRetryAfterMs: number
  readonly emergency: Emergency
  /** A connection that lasted this long forgets the failures before it. */
  readonly stableAfterMs: number
  /** How long a lost connection waits for a roll that is about to switch. */
  readonly switchGraceMs: number
  /** After so many failed attempts in a row at a hub that cannot be reached, DPS is asked where the device belongs. */
  readonly askDpsAfterAttempts: number
  /** `null` without an issuer: then nothing can be rolled. */
  readonly ownRolls: OwnRolls | null
}

/** Everything the agent knows. Serialisable as JSON; `step` is the only thing that makes a new one. */
export interface AgentState {
  /** False before `started` and after `stopRequested`; a stopped machine does nothing. */
  readonly running: boolean
  readonly policy: Policy
  /** The registration id; every certificate of the device must carry it as its common name. */
  readonly commonName: string
  readonly generations: readonly Generation[]
  /** The pointer: the generation a hub has accepted last. `null` before the first. */
  readonly active: number | null
  readonly nextGeneration: number
  readonly assignment: Assignment | null
  readonly connection: Connection
  readonly roll: Roll
  readonly destruction: Destruction | null
  /** Somebody asked for a registration that has not been possible yet. */
  readonly reprovisionWanted: boolean
  readonly lastOperation: Operation
  /** The instant the runner has been asked to wake the machine; `null` when nothing is due. */
  readonly wakeAt: Instant | null
  /** The instant of the last event, by which a clock that was set back is noticed; `null` before the first. */
  readonly lastAt: Instant | null
  /** False while the disk refuses records: nothing begins that a restart would have to know of. */
  readonly journalWritable: boolean
  /**
   * Why the token cannot be used: its PIN was refused, is locked or is missing, or TLS needs a new process. Until the
   * next start nothing begins that needs the token: a further try may lock it, or cannot help. `null` while all is well.
   */
  readonly tokenShut: ErrorCode | null
  /** The window that the cloud has named last; `served` once a roll that it asked for is complete. */
  readonly rollWindow: (RollWindow & { readonly served: boolean }) | null
  /** When the roll began that was completed last; `null` before the first. */
  readonly lastRollAt: Instant | null
}
