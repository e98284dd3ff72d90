import type { SimulatedCloud } from '../../cloud.ts'
import type { CloudEventMap } from '../../events.ts'
import { DeviceHistory } from './device-history.ts'

/** Listens to a cloud, and remembers what happens to each of its devices. */
export class DeviceHistories {
  readonly #cloud: SimulatedCloud
  readonly #now: () => number
  readonly #devices = new Map<string, DeviceHistory>()
  readonly #listeners = new Set<() => void>()
  readonly #stop: (() => void)[] = []

  /** @param now - milliseconds since 1970, of the people who look at it: the cloud's own clock may be made wrong */
  constructor(cloud: SimulatedCloud, now: () => number = Date.now) {
    this.#cloud = cloud
    this.#now = now
    this.#listen('registration', (attempt) => {
      const { registrationId } = attempt
      const deviceId = cloud.dps.enrollments.get(registrationId)?.deviceId ?? registrationId
      this.#of(deviceId).registered(attempt, now())
    })
    this.#listen('deviceConnected', (event) => this.#of(event.deviceId).connected(event, now()))
    this.#listen('deviceDisconnected', (event) => {
      this.#of(event.deviceId).disconnected(event, this.#isConnected(event.deviceId), now())
    })
    this.#listen('connectRefused', (event) => this.#of(event.deviceId).refused(event, now()))
    this.#listen('telemetry', ({ deviceId }) => this.#of(deviceId).messageArrived(now()))
    this.#listen('methodCompleted', ({ deviceId, methodName, outcome }) => {
      this.#of(deviceId).methodCompleted(methodName, outcome, now())
    })
    this.#listen('twinChanged', ({ hub, deviceId, by }) => {
      if (by === 'device') this.#of(deviceId).reported(cloud.hub(hub).twin(deviceId).reported, now())
    })
    this.#listen('jobChanged', () => undefined)
  }

  /** This moment on the clock of all histories, in milliseconds since 1970. */
  get now(): number {
    return this.#now()
  }

  /** What has happened to a device; empty for one that nothing was heard of. */
  of(deviceId: string): DeviceHistory {
    return this.#devices.get(deviceId) ?? new DeviceHistory(deviceId)
  }

  /** All devices that something was heard of. */
  list(): readonly DeviceHistory[] {
    return [...this.#devices.values()]
  }

  /** Tells of everything that happens in the cloud, after it was noted here. @returns what ends it */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  close(): void {
    for (const stop of this.#stop.splice(0)) stop()
    this.#listeners.clear()
  }

  #of(deviceId: string): DeviceHistory {
    const history = this.of(deviceId)
    this.#devices.set(deviceId, history)
    return history
  }

  #isConnected(deviceId: string): boolean {
    return this.#cloud.hubs.some(({ registry }) => registry.get(deviceId)?.connectionState === 'Connected')
  }

  #listen<Name extends keyof CloudEventMap>(name: Name, note: (event: CloudEventMap[Name][0]) => void): void {
    const { events } = this.#cloud
    // Node's types cannot tell that a listener fits a name which is itself a parameter.
    const listener = ((event: CloudEventMap[Name][0]): void => {
      note(event)
      for (const told of this.#listeners) told()
    }) as never
    events.on(name, listener)
    this.#stop.push(() => events.off(name, listener))
  }
}
