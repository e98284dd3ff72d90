import type { CredentialPolicies } from './adr/credential-policies.ts'
import { clientOptions, type ClientOptions } from './client-options.ts'
import { dpsDomain, hubDomain, hubHostName, provisioningHost } from './cloud/host-names.ts'
import type { CloudOptions } from './cloud/options.ts'
import type { Doors } from './cloud/doors.ts'
import { startCloud, type RunningCloud } from './cloud/start.ts'
import type { SimulatedProvisioningService } from './dps/provisioning-service.ts'
import type { SimulatedEstServer } from './est/est-server.ts'
import type { CloudEvents, CloudEventMap } from './events.ts'
import type { Faults } from './faults/faults.ts'
import type { SimulatedHub } from './hub/hub.ts'
import type { MqttFront } from './mqtt/mqtt-front.ts'
import type { Keeper } from './persistence/keeper.ts'

/**
 * A local Azure IoT: the Device Provisioning Service and IoT hubs, behind one port of the loopback address, for the
 * official device SDKs as they are.
 *
 * @example
 * ```ts
 * const cloud = await SimulatedCloud.start({ hubs: ['hub-a'] })
 * cloud.dps.enrollments.put({ registrationId: 'device-1', attestation: { primary: leaf.certificate } })
 * // ... the device registers and connects ...
 * const message = await cloud.waitFor('telemetry', ({ deviceId }) => deviceId === 'device-1')
 * await cloud.close()
 * ```
 */
export class SimulatedCloud {
  /** The host name of DPS that devices are given; it leads here by `connectTo`. */
  readonly provisioningHost = provisioningHost
  readonly idScope: string
  /** The bearer token for `https://management.azure.com`, where certificates of authorities are kept. */
  readonly managementToken: string
  /** The throw-away authority of the server certificate, as PEM. */
  readonly trustedAuthorities: string
  /**
   * Lines for the hosts file, by which every host name of this cloud leads here; `undefined` without `ownAddress`.
   */
  readonly hostsFile: string | undefined
  readonly dps: SimulatedProvisioningService
  /** By which DPS and the hubs issue certificates to devices. */
  readonly credentialPolicies: CredentialPolicies
  /** Enrolment over Secure Transport, under {@link estUrl}. */
  readonly est: SimulatedEstServer
  /** Everything that happens, as it happens. */
  readonly events: CloudEvents
  /** What goes wrong, by name. */
  readonly faults: Faults
  readonly #hubs: ReadonlyMap<string, SimulatedHub>
  readonly #doors: Doors
  readonly #mqtt: MqttFront
  readonly #keeper: Keeper | undefined

  private constructor({ services, ...running }: RunningCloud) {
    this.idScope = services.idScope
    this.managementToken = running.managementToken
    this.trustedAuthorities = running.authority
    this.dps = services.dps
    this.credentialPolicies = services.credentialPolicies
    this.est = services.est
    this.events = services.events
    this.faults = services.faults
    this.#hubs = services.hubs
    this.#doors = running.doors
    this.hostsFile = running.hostsFile
    this.#mqtt = running.mqtt
    this.#keeper = running.keeper
  }

  /** Starts a cloud. @throws Error when the port cannot be had, or the data folder cannot be used */
  static async start(options: CloudOptions = {}): Promise<SimulatedCloud> {
    return new SimulatedCloud(await startCloud(options))
  }

  get port(): number {
    return this.#doors.port
  }

  /** Where to connect, as `localhost:PORT`; or the address of its own, with a port. */
  get address(): string {
    return `${this.hostsFile === undefined ? 'localhost' : this.#doors.host}:${this.port}`
  }

  /** Where the EST server is, as `https://localhost:PORT/.well-known/est`. */
  get estUrl(): string {
    return `https://${this.address}/.well-known/est`
  }

  /**
   * How many connections are open, to whatever service, those in their TLS handshake among them.
   *
   * @example
   * ```ts
   * while (cloud.openConnections > 0) await cloud.waitFor('connectionEnded')
   * ```
   */
  get openConnections(): number {
    return this.#doors.openConnections
  }

  /** Sends every Azure host name here. */
  get connectTo(): Readonly<Record<string, string>> {
    const elsewhere = this.hubs.filter(({ hostName }) => !hostName.endsWith(`.${hubDomain}`))
    return Object.fromEntries(
      [`*.${hubDomain}`, `*.${dpsDomain}`, ...elsewhere.map(({ hostName }) => hostName)].map((host) => [
        host,
        this.address,
      ]),
    )
  }

  /**
   * What the official SDKs need to be pointed here; made anew by each call.
   *
   * @example
   * ```ts
   * const client = ProvisioningServiceClient.fromConnectionString(cloud.dps.connectionString)
   * client._restApiClient.setOptions({ http: { agent: cloud.clientOptions().agent } })
   * ```
   */
  clientOptions(): ClientOptions {
    return clientOptions({
      address: this.address,
      host: this.#doors.host,
      port: this.port,
      ca: this.trustedAuthorities,
    })
  }

  /** All hubs, in the order they were given. */
  get hubs(): readonly SimulatedHub[] {
    return [...this.#hubs.values()]
  }

  /** A hub by its name or host name. @throws RangeError when there is none */
  hub(name: string): SimulatedHub {
    const hub = this.#hubs.get(hubHostName(name))
    if (hub === undefined) {
      throw new RangeError(`There is no hub "${name}": expected one of ${[...this.#hubs.keys()].join(', ')}.`)
    }
    return hub
  }

  /** The next event for which the predicate holds; see {@link CloudEvents.next}. */
  async waitFor<Name extends keyof CloudEventMap>(
    name: Name,
    predicate?: (event: CloudEventMap[Name][0]) => boolean,
  ): Promise<CloudEventMap[Name][0]> {
    return this.events.next(name, predicate)
  }

  /** Makes all services unreachable: cuts every connection and refuses new ones. */
  async pauseListening(): Promise<void> {
    await this.#doors.pause()
  }

  /** Makes all services reachable again, at the same address. */
  async resumeListening(): Promise<void> {
    await this.#doors.resume()
  }

  /** Cuts every connection, on all services, and keeps listening. */
  dropConnections(): void {
    this.#doors.dropConnections()
  }

  /** Writes everything to the data folder, if there is one: for what was done by this API and not over HTTP. */
  async save(): Promise<void> {
    await this.#keeper?.save()
  }

  /** Ends everything. Resolves when the port is free and no timer is left; may be called twice. */
  async close(): Promise<void> {
    this.faults.clear()
    this.dps.close()
    for (const hub of this.#hubs.values()) hub.close()
    await this.#doors.pause()
    await this.#mqtt.close()
    await this.#keeper?.close()
  }
}
