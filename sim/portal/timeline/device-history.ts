import type { ConnectRefusedEvent, DeviceEvent } from '../../events.ts'
import type { RegistrationAttempt } from '../../dps/registrations.ts'

/** What an entry is about. */
export type EntryKind = 'registration' | 'connection' | 'roll' | 'messages' | 'method' | 'report' | 'record'

/** One thing that has happened to a device. */
export interface TimelineEntry {
  readonly kind: EntryKind
  /** Milliseconds since 1970. */
  readonly at: number
  readonly tone: 'good' | 'bad' | 'plain'
  readonly title: string
  readonly detail: string
}

/** A leaf that a device has shown, with the key that belongs to it. */
export interface Generation {
  /** Counted in the order they were seen, unless the device reports its own count. */
  readonly number: number
  /** SHA-256. */
  readonly thumbprint: string
  /** Milliseconds since 1970. */
  readonly seenAt: number
}

/** A time in which a device was connected. */
export interface ConnectedSpan {
  readonly thumbprint: string
  readonly from: number
  /** `undefined` while it lasts. */
  readonly until: number | undefined
}

/** How many entries and connections are remembered, and for how many seconds the number of messages. */
const remembered = { entries: 300, spans: 200, seconds: 900 }

/** What has happened to one device, as the cloud sees it. Bounded: old things are forgotten. */
export class DeviceHistory {
  readonly deviceId: string
  readonly #entries: TimelineEntry[] = []
  readonly #generations = new Map<string, Generation>()
  readonly #spans: ConnectedSpan[] = []
  /** Messages by second since 1970, in order. */
  readonly #perSecond = new Map<number, number>()
  #messages = 0
  #run = 0
  #phase = 'idle'

  constructor(deviceId: string) {
    this.deviceId = deviceId
  }

  /** In order. The messages of one connection are one entry. */
  get entries(): readonly TimelineEntry[] {
    return this.#entries
  }

  /** In the order they were seen. */
  get generations(): readonly Generation[] {
    return [...this.#generations.values()]
  }

  get spans(): readonly ConnectedSpan[] {
    return this.#spans
  }

  /** By second since 1970. */
  get messagesPerSecond(): ReadonlyMap<number, number> {
    return this.#perSecond
  }

  /** All that have arrived. */
  get messages(): number {
    return this.#messages
  }

  generation(thumbprint: string): Generation | undefined {
    return this.#generations.get(thumbprint)
  }

  registered({ outcome, reason, assignedHub, substatus, thumbprint }: RegistrationAttempt, at: number): void {
    const name = this.#seen(thumbprint, at)
    if (outcome === 'assigned') {
      const title = `DPS has assigned ${name} to ${assignedHub ?? '?'}`
      this.#add({ kind: 'registration', at, tone: 'good', title, detail: substatus ?? '' })
    } else {
      const title = `DPS has refused ${name}: ${outcome}`
      this.#add({ kind: 'registration', at, tone: 'bad', title, detail: reason ?? '' })
    }
  }

  connected({ hub, thumbprint }: DeviceEvent & { readonly thumbprint: string }, at: number): void {
    const before = this.#spans.at(-1)
    const name = this.#seen(thumbprint, at)
    if (before !== undefined && before.thumbprint !== thumbprint && thumbprint !== '') {
      const overlap =
        before.until === undefined ? 'took over from' : `followed, ${at - before.until} ms after`
      const detail = `It ${overlap} ${this.#nameOf(before.thumbprint)}.`
      this.#add({ kind: 'roll', at, tone: 'good', title: `Rolled to ${name}`, detail })
    }
    // A takeover: the hub tells of the old connection's end after this.
    this.#endSpan(at)
    this.#spans.push({ thumbprint, from: at, until: undefined })
    if (this.#spans.length > remembered.spans) this.#spans.shift()
    this.#add({ kind: 'connection', at, tone: 'good', title: `Connected to ${hub}`, detail: `With ${name}.` })
  }

  /** @param isStillConnected - by a connection that took over from this one */
  disconnected(
    { hub, reason }: DeviceEvent & { readonly reason: string },
    isStillConnected: boolean,
    at: number,
  ): void {
    if (!isStillConnected) this.#endSpan(at)
    const title = isStillConnected ? `An older connection to ${hub} has ended` : `Disconnected from ${hub}`
    this.#add({ kind: 'connection', at, tone: 'plain', title, detail: reason })
  }

  refused({ hub, errorCode, reason }: ConnectRefusedEvent, at: number): void {
    const title = `${hub} has refused the connection: ${errorCode}`
    this.#add({ kind: 'connection', at, tone: 'bad', title, detail: reason })
  }

  messageArrived(at: number): void {
    const second = Math.floor(at / 1000)
    this.#messages += 1
    this.#perSecond.set(second, (this.#perSecond.get(second) ?? 0) + 1)
    for (const old of this.#perSecond.keys()) {
      if (old > second - remembered.seconds) break
      this.#perSecond.delete(old)
    }
    // What comes over one connection is told together, where it began.
    const begun = this.#entries.findLastIndex(({ kind }) => kind === 'messages' || kind === 'connection')
    const run = this.#entries[begun]
    this.#run = run?.kind === 'messages' ? this.#run + 1 : 1
    const title = this.#run === 1 ? 'One message' : `${this.#run} messages`
    if (run?.kind === 'messages') this.#entries[begun] = { ...run, title }
    else this.#add({ kind: 'messages', at, tone: 'plain', title, detail: '' })
  }

  methodCompleted(methodName: string, outcome: number, at: number): void {
    // What is no status of the device is an error of the hub, which has six digits.
    const tone = outcome >= 200 && outcome < 300 ? 'good' : 'bad'
    const title = `Direct method ${methodName}: ${outcome}`
    this.#add({ kind: 'method', at, tone, title, detail: '' })
  }

  /** The device has written its reported properties. */
  reported(reported: Readonly<Record<string, unknown>>, at: number): void {
    const { roll, certificate } = sectionOf(reported, 'leafkeeper')
    const { generation, thumbprint } = certificate
    const known = typeof thumbprint === 'string' ? this.#generations.get(thumbprint) : undefined
    if (known !== undefined && typeof generation === 'number') {
      this.#generations.set(known.thumbprint, { ...known, number: generation })
    }
    const { phase, code, advice } = roll
    if (typeof phase !== 'string' || phase === this.#phase) return
    this.#phase = phase
    const detail = [code, advice].filter((text) => typeof text === 'string').join(': ')
    const tone = phase === 'failed' ? 'bad' : 'plain'
    this.#add({ kind: 'report', at, tone, title: `The device reports its roll: ${phase}`, detail })
  }

  /** Something was done to the device at the hub or to its enrollment. */
  changed(title: string, detail: string, at: number): void {
    this.#add({ kind: 'record', at, tone: 'plain', title, detail })
  }

  /** @returns what it is called */
  #seen(thumbprint: string, at: number): string {
    if (thumbprint !== '' && !this.#generations.has(thumbprint)) {
      const number = Math.max(0, ...this.generations.map((one) => one.number)) + 1
      this.#generations.set(thumbprint, { number, thumbprint, seenAt: at })
    }
    return this.#nameOf(thumbprint)
  }

  #nameOf(thumbprint: string): string {
    const number = this.#generations.get(thumbprint)?.number
    return number === undefined ? 'a key' : `generation ${number}`
  }

  #endSpan(at: number): void {
    const last = this.#spans.at(-1)
    if (last?.until === undefined && last !== undefined) this.#spans.splice(-1, 1, { ...last, until: at })
  }

  #add(entry: TimelineEntry): void {
    this.#entries.push(entry)
    if (this.#entries.length > remembered.entries) this.#entries.shift()
  }
}

type Section = Readonly<Record<string, unknown>>

/** What leafkeeper reports; any other device's properties have none of it. */
function sectionOf(
  reported: Section,
  name: string,
): { readonly roll: Section; readonly certificate: Section } {
  const section = recordIn(reported, name)
  return { roll: recordIn(section, 'roll'), certificate: recordIn(section, 'certificate') }
}

function recordIn(section: Section, name: string): Section {
  const value = section[name]
  return typeof value === 'object' && value !== null ? (value as Section) : {}
}
