import { randomUUID } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import { clientOptions, type ClientOptions } from './client-options.ts'
import type { GroupAuthentication } from './dps/assignment.ts'
import { managementApp } from './dps/management-app.ts'
import { SimulatedProvisioningService } from './dps/provisioning-service.ts'
import type { DisabledEnrollment } from './dps/registration-desk.ts'
import { parseDpsUserName } from './dps/request.ts'
import { isServicePath } from './dps/either-app.ts'
import { CloudEvents, type CloudEventMap } from './events.ts'
import { CloudEffects } from './faults/cloud-effects.ts'
import { Faults, type Trouble } from './faults/faults.ts'
import { mqttTrouble } from './faults/mqtt-trouble.ts'
import { troubledApp, type HttpTrouble } from './faults/troubled-app.ts'
import { hubErrors, managementErrors, provisioningErrors, type ErrorStyle } from './http/error-style.ts'
import { onFirstByte } from './http/first-byte.ts'
import { HttpFront, type HostPredicate, type HttpApp } from './http/http-front.ts'
import { SimulatedHub, type OnRecordReplaced } from './hub/hub.ts'
import { hubServiceApp } from './hub/service/hub-service.ts'
import { parseHubUserName } from './hub/user-name.ts'
import { TlsListener } from './listener.ts'
import { MqttFront, type Route } from './mqtt/mqtt-front.ts'
import { ConnectRefused } from './mqtt/session.ts'
import { Keeper, type CloudState } from './persistence/keeper.ts'
import { createServerCredential } from './pki/server-certificate.ts'

const hubDomain = 'azure-devices.net'
const dpsDomain = 'azure-devices-provisioning.net'
const serviceHost = `leafkeeper.${dpsDomain}`
const managementHost = 'management.azure.com'

/** What a cloud is made of. Everything has a default. */
export interface CloudOptions {
  /** Names of the IoT hubs, which are all linked to DPS. Default `['hub-a', 'hub-b']`. */
  readonly hubs?: readonly string[]
  /** The port of 127.0.0.1 to listen on. Default: the one of `data`, or a free one. */
  readonly port?: number
  /** A folder that keeps everything across restarts and crashes. Default: none. */
  readonly data?: string
  /**
   * What a hub does with a live connection whose certificate no longer fits the device record, once the record is
   * rewritten. It is not known what Azure does. Default `keep-session`.
   */
  readonly onRecordReplaced?: OnRecordReplaced
  /** What DPS writes into the device record for devices of a group. Default `selfSigned`. */
  readonly groupAuthentication?: GroupAuthentication
  /** How long DPS asks devices to wait before they ask again, in seconds. Default 0, so that tests are quick. */
  readonly retryAfterSeconds?: number
  /** What a device of a disabled entry is told. Default `unauthorized`. */
  readonly disabledEnrollment?: DisabledEnrollment
  /** For faults that come to pass with a probability: the same seed, the same run. Default 1. */
  readonly seed?: number
  /** The services' clock, in milliseconds since 1970. Default: this machine's. */
  readonly now?: () => number
}

interface CloudParts {
  readonly dps: SimulatedProvisioningService
  readonly hubs: ReadonlyMap<string, SimulatedHub>
  readonly events: CloudEvents
  readonly listener: TlsListener
  readonly front: MqttFront
  readonly idScope: string
  readonly managementToken: string
  readonly trustedAuthorities: string
  readonly keeper: Keeper | undefined
  readonly faults: Faults
}

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
  readonly provisioningHost = `global.${dpsDomain}`
  readonly idScope: string
  /** The bearer token for `https://management.azure.com`, where certificates of authorities are kept. */
  readonly managementToken: string
  /** The throw-away authority of the server certificate, as PEM. */
  readonly trustedAuthorities: string
  readonly dps: SimulatedProvisioningService
  /** Everything that happens, as it happens. */
  readonly events: CloudEvents
  /** What goes wrong, by name. */
  readonly faults: Faults
  readonly #hubs: ReadonlyMap<string, SimulatedHub>
  readonly #listener: TlsListener
  readonly #front: MqttFront
  readonly #keeper: Keeper | undefined

  private constructor(parts: CloudParts) {
    this.idScope = parts.idScope
    this.managementToken = parts.managementToken
    this.trustedAuthorities = parts.trustedAuthorities
    this.dps = parts.dps
    this.events = parts.events
    this.faults = parts.faults
    this.#hubs = parts.hubs
    this.#listener = parts.listener
    this.#front = parts.front
    this.#keeper = parts.keeper
  }

  /** Starts a cloud. @throws Error when the port cannot be had, or the data folder cannot be used */
  static async start(options: CloudOptions = {}): Promise<SimulatedCloud> {
    if (options.data === undefined) return SimulatedCloud.#start(options)
    const { keeper, state } = await Keeper.open(options.data)
    try {
      return await SimulatedCloud.#start(options, keeper, state)
    } catch (error) {
      await keeper.close()
      throw error
    }
  }

  static async #start(options: CloudOptions, keeper?: Keeper, state?: CloudState): Promise<SimulatedCloud> {
    const events = new CloudEvents()
    const clock = options.now ?? Date.now
    const now = (): number => clock() + effects.skewMs
    const idScope = '0ne00LEAF01'
    const hubs = new Map(
      hubNames(options, state).map((name) => {
        const hostName = hostNameOf(name)
        const onRecordReplaced = options.onRecordReplaced ?? 'keep-session'
        return [hostName, new SimulatedHub({ hostName, onRecordReplaced, events, now })]
      }),
    )
    const dps = new SimulatedProvisioningService({
      idScope,
      hostName: serviceHost,
      hubs: [...hubs.values()],
      groupAuthentication: options.groupAuthentication ?? 'selfSigned',
      disabledEnrollment: options.disabledEnrollment ?? 'unauthorized',
      retryAfterSeconds: options.retryAfterSeconds ?? 0,
      events,
      now,
    })
    const effects = new CloudEffects({ dps, hubs, hostNameOf })
    const faults = new Faults(options.seed ?? 1, effects)
    const serverNames = [...hubs.keys(), `global.${dpsDomain}`, serviceHost, managementHost]
    const credential = state?.credential ?? (await createServerCredential(serverNames))
    const managementToken = state?.managementToken ?? randomUUID()
    if (state !== undefined) {
      for (const [name, snapshot] of Object.entries(state.hubs)) hubs.get(name)?.restore(snapshot)
      dps.restore(state.dps)
    }
    const front = await MqttFront.open(routeTo(dps, hubs, events), mqttTrouble(faults, dps, effects.down))
    const http = new HttpFront((peer, stream) => front.handle(peer, stream))
    const mount = (
      answersFor: HostPredicate,
      of: HttpTrouble['of'],
      errors: ErrorStyle,
      app: HttpApp,
    ): void => {
      http.mount(answersFor, troubledApp(keeper?.keeping(app) ?? app, { of, errors, now }))
    }
    for (const hub of hubs.values()) {
      const trouble = (): Trouble => {
        const met = faults.trouble('hub-service')
        return effects.down.has(hub.hostName) ? { ...met, refusal: { status: 503 } } : met
      }
      mount((host) => host === hub.hostName, trouble, hubErrors, hubServiceApp(hub))
    }
    mount(
      (host) => host.endsWith(`.${dpsDomain}`),
      ({ url }) => faults.trouble(isServicePath(url) ? 'dps-service' : 'dps'),
      provisioningErrors,
      dps.http,
    )
    mount(
      (host) => host === managementHost,
      () => faults.trouble('management'),
      managementErrors,
      managementApp({
        token: managementToken,
        certificatesOf: (type, name) =>
          type === 'provisioningservices' && `${name}.${dpsDomain}`.toLowerCase() === serviceHost
            ? dps.certificates
            : undefined,
        now,
      }),
    )
    const greet = (socket: TLSSocket): void => {
      onFirstByte(socket, (protocol) => (protocol === 'http' ? http : front).handle(socket))
    }
    const port = options.port ?? state?.port ?? 0
    await keeper?.begin(() => ({
      port,
      managementToken,
      credential,
      dps: dps.snapshot(),
      hubs: Object.fromEntries([...hubs].map(([name, hub]) => [name, hub.snapshot()])),
    }))
    const listener = await TlsListener.open(credential, greet, {
      port,
      refuses: () => faults.takes('tls-refused') !== undefined,
    }).catch(async (error: unknown) => {
      await front.close()
      throw error
    })
    return new SimulatedCloud({
      dps,
      hubs,
      events,
      listener,
      front,
      idScope,
      managementToken,
      trustedAuthorities: credential.authority,
      keeper,
      faults,
    })
  }

  get port(): number {
    return this.#listener.port
  }

  /** Where to connect, as `localhost:PORT`. */
  get address(): string {
    return `localhost:${this.port}`
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
    return clientOptions({ address: this.address, port: this.port, ca: this.trustedAuthorities })
  }

  /** All hubs, in the order they were given. */
  get hubs(): readonly SimulatedHub[] {
    return [...this.#hubs.values()]
  }

  /** A hub by its name or host name. @throws RangeError when there is none */
  hub(name: string): SimulatedHub {
    const hub = this.#hubs.get(hostNameOf(name))
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
    await this.#listener.pause()
  }

  /** Makes all services reachable again, at the same address. */
  async resumeListening(): Promise<void> {
    await this.#listener.resume()
  }

  /** Cuts every connection, on all services, and keeps listening. */
  dropConnections(): void {
    this.#listener.dropConnections()
  }

  /** Writes everything to the data folder, if there is one: for what was done by this API and not over HTTP. */
  async save(): Promise<void> {
    await this.#keeper?.save()
  }

  /** Ends everything. Resolves when the port is free and no timer is left; may be called twice. */
  async close(): Promise<void> {
    this.faults.clear()
    for (const hub of this.#hubs.values()) hub.close()
    await this.#listener.pause()
    await this.#front.close()
    await this.#keeper?.close()
  }
}

/** @throws Error when the data folder was made for other hubs: the server's certificate names those */
function hubNames({ hubs, data }: CloudOptions, state: CloudState | undefined): readonly string[] {
  const kept = state === undefined ? undefined : Object.keys(state.hubs)
  const wanted = hubs?.map(hostNameOf)
  if (kept !== undefined && wanted !== undefined && [...wanted].sort().join() !== [...kept].sort().join()) {
    throw new Error(
      `The folder ${data ?? ''} holds the hubs ${kept.join(', ')}, not ${wanted.join(', ')}. Leave the hubs out, or use another folder.`,
    )
  }
  return kept ?? wanted ?? ['hub-a', 'hub-b']
}

function hostNameOf(hub: string): string {
  const name = hub.toLowerCase()
  return name.includes('.') ? name : `${name}.${hubDomain}`
}

function routeTo(
  dps: SimulatedProvisioningService,
  hubs: ReadonlyMap<string, SimulatedHub>,
  events: CloudEvents,
): Route {
  return (userName) => {
    const { hubHost, deviceId } = parseHubUserName(userName)
    const hub = hubs.get(hubHost)
    if (hub !== undefined) return hub.mqtt
    if (parseDpsUserName(userName) !== undefined) return dps.mqtt
    const reason = `The user name "${userName}" names no hub of this cloud, and no registration.`
    events.emit('connectRefused', { hub: hubHost, deviceId, code: 5, errorCode: 401003, reason })
    throw new ConnectRefused(5, reason)
  }
}
