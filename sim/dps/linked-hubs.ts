import type { SimulatedHub } from '../hub/hub.ts'

/** How a hub takes part in allocation. */
export interface LinkOptions {
  /** Its share of the devices under `hashed`. Default 1. */
  readonly allocationWeight?: number
  /** How far it is from the devices, for `geoLatency`. Default 0. */
  readonly latencyMs?: number
}

/** A hub to which DPS can assign devices. */
export interface LinkedHub {
  readonly hub: SimulatedHub
  readonly allocationWeight: number
  readonly latencyMs: number
}

/**
 * The hubs that are linked to DPS.
 *
 * @example
 * ```ts
 * cloud.dps.linkedHubs.unlink('hub-b.azure-devices.net') // as when a region fails
 * cloud.dps.linkedHubs.set('hub-a.azure-devices.net', { allocationWeight: 3 })
 * ```
 */
export class LinkedHubs {
  readonly #all: ReadonlyMap<string, SimulatedHub>
  readonly #linked = new Map<string, Required<LinkOptions>>()

  constructor(hubs: readonly SimulatedHub[]) {
    this.#all = new Map(hubs.map((hub) => [hub.hostName, hub]))
    for (const { hostName } of hubs) this.set(hostName)
  }

  /** Links a hub of this cloud, or changes its link. @throws RangeError when there is no such hub */
  set(hostName: string, { allocationWeight = 1, latencyMs = 0 }: LinkOptions = {}): void {
    const name = hostName.toLowerCase()
    if (!this.#all.has(name)) throw new RangeError(`There is no hub "${hostName}" in this cloud.`)
    this.#linked.set(name, { allocationWeight, latencyMs })
  }

  /** Devices that are there already stay until they register again. @returns whether it was linked */
  unlink(hostName: string): boolean {
    return this.#linked.delete(hostName.toLowerCase())
  }

  list(): readonly LinkedHub[] {
    return [...this.#linked].flatMap(([name, options]) => {
      const hub = this.#all.get(name)
      return hub === undefined ? [] : [{ hub, ...options }]
    })
  }

  /** Any hub of the cloud, linked or not: a device may have been assigned to it before. */
  known(hostName: string): SimulatedHub | undefined {
    return this.#all.get(hostName.toLowerCase())
  }

  snapshot(): Readonly<Record<string, Required<LinkOptions>>> {
    return Object.fromEntries(this.#linked)
  }

  restore(links: Readonly<Record<string, Required<LinkOptions>>>): void {
    this.#linked.clear()
    for (const [name, options] of Object.entries(links)) if (this.#all.has(name)) this.set(name, options)
  }
}
