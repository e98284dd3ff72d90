/** How a registration came about. */
export type Substatus =
  'initialAssignment' | 'deviceDataMigrated' | 'deviceDataReset' | 'reprovisionedToInitialAssignment'

/** Where DPS has sent a device, as the device and the service API see it. */
export interface RegistrationState {
  readonly registrationId: string
  readonly createdDateTimeUtc: string
  /** Host name of the hub. */
  readonly assignedHub: string
  readonly deviceId: string
  readonly status: 'assigned'
  readonly substatus: Substatus
  readonly lastUpdatedDateTimeUtc: string
  readonly etag: string
  readonly enrollmentGroupId?: string
  /** What a custom allocation has to say to the device. */
  readonly payload?: unknown
}

/** One registration that DPS has decided on. */
export interface RegistrationAttempt {
  readonly registrationId: string
  /** `assigned`, or the error code that the device was given: 401002 and the like. */
  readonly outcome: 'assigned' | 'disabled' | number
  /** Why it was refused, for whoever runs the service. */
  readonly reason?: string
  /** Host name of the hub, when it was assigned. */
  readonly assignedHub?: string
  readonly substatus?: Substatus
  /** That of the leaf, SHA-256; empty when none was presented. */
  readonly thumbprint: string
  /** Milliseconds since 1970. */
  readonly at: number
}

/** The registrations that DPS remembers, by registration id. */
export class Registrations {
  readonly #states = new Map<string, RegistrationState>()

  get(registrationId: string): RegistrationState | undefined {
    return this.#states.get(registrationId.toLowerCase())
  }

  list(): readonly RegistrationState[] {
    return [...this.#states.values()]
  }

  put(state: RegistrationState): void {
    this.#states.set(state.registrationId.toLowerCase(), state)
  }

  /** Forgets a registration: the next one is an initial assignment. @returns whether there was one */
  delete(registrationId: string): boolean {
    return this.#states.delete(registrationId.toLowerCase())
  }

  snapshot(): readonly RegistrationState[] {
    return this.list()
  }

  restore(states: readonly RegistrationState[]): void {
    this.#states.clear()
    for (const state of states) this.put(state)
  }
}
