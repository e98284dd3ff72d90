/** What outlives a connection of a device that asked for it: JSON. */
export interface StoredSession {
  /** The granted QoS by topic filter. */
  readonly subscriptions: Readonly<Record<string, 0 | 1>>
}

const empty: StoredSession = { subscriptions: {} }

/** The persistent sessions of one hub's devices (`clean=false`). */
export class SessionStore {
  readonly #sessions = new Map<string, StoredSession>()

  get(deviceId: string): StoredSession | undefined {
    return this.#sessions.get(deviceId)
  }

  /** Begins a session; with `clean`, what there was is forgotten and nothing is kept from now on. */
  begin(deviceId: string, clean: boolean): void {
    if (clean) this.#sessions.delete(deviceId)
    else if (!this.#sessions.has(deviceId)) this.#sessions.set(deviceId, empty)
  }

  subscribed(deviceId: string, filter: string, qos: 0 | 1): void {
    this.#change(deviceId, (session) => ({
      subscriptions: { ...session.subscriptions, [filter]: qos },
    }))
  }

  unsubscribed(deviceId: string, filter: string): void {
    this.#change(deviceId, (session) => {
      const { [filter]: _, ...subscriptions } = session.subscriptions
      return { subscriptions }
    })
  }

  delete(deviceId: string): void {
    this.#sessions.delete(deviceId)
  }

  snapshot(): Readonly<Record<string, StoredSession>> {
    return Object.fromEntries(this.#sessions)
  }

  restore(snapshot: Readonly<Record<string, StoredSession>>): void {
    this.#sessions.clear()
    for (const [deviceId, session] of Object.entries(snapshot)) this.#sessions.set(deviceId, session)
  }

  #change(deviceId: string, change: (session: StoredSession) => StoredSession): void {
    const session = this.#sessions.get(deviceId)
    if (session !== undefined) this.#sessions.set(deviceId, change(session))
  }
}
