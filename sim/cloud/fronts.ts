import type { TLSSocket } from 'node:tls'
import { isServicePath } from '../dps/either-app.ts'
import { managementApp } from '../management/management-app.ts'
import { parseDpsUserName } from '../dps/request.ts'
import type { Trouble } from '../faults/faults.ts'
import { mqttTrouble } from '../faults/mqtt-trouble.ts'
import { troubledApp, type HttpTrouble } from '../faults/troubled-app.ts'
import { estApp, isEstPath } from '../est/est-app.ts'
import {
  estErrors,
  hubErrors,
  managementErrors,
  provisioningErrors,
  type ErrorStyle,
} from '../http/error-style.ts'
import { onFirstByte } from '../http/first-byte.ts'
import { HttpFront, type HostPredicate, type HttpApp } from '../http/http-front.ts'
import type { SimulatedHub } from '../hub/hub.ts'
import { hubServiceApp } from '../hub/service/hub-service.ts'
import { parseHubUserName } from '../hub/user-name.ts'
import { MqttFront, type Route } from '../mqtt/mqtt-front.ts'
import { ConnectRefused } from '../mqtt/session.ts'
import { dpsDomain, estHost, hubHostName, managementHost, serviceHost } from './host-names.ts'
import type { CloudServices } from './services.ts'

/** How the services are reached. */
export interface FrontOptions {
  /** The bearer token of the management API. */
  readonly managementToken: string
  /** Makes an app's answers to changes wait until the change is kept. */
  readonly keeping: (app: HttpApp) => HttpApp
}

/** MQTT and HTTP in front of all services of a cloud. */
export interface Fronts {
  readonly mqtt: MqttFront
  /** Takes a connection whose TLS handshake is done. */
  readonly greet: (socket: TLSSocket) => void
}

/** Puts MQTT and HTTP in front of the services, with the faults that are set in between. */
export async function openFronts(services: CloudServices, options: FrontOptions): Promise<Fronts> {
  const { dps, faults, effects } = services
  const mqtt = await MqttFront.open(routeTo(services), mqttTrouble(faults, dps, effects.down))
  const http = new HttpFront((peer, stream) => mqtt.handle(peer, stream), services.now)
  mountServices(http, services, options)
  const greet = (socket: TLSSocket): void => {
    onFirstByte(socket, (protocol) => (protocol === 'http' ? http : mqtt).handle(socket))
  }
  return { mqtt, greet }
}

function mountServices(
  http: HttpFront,
  { dps, est, hubs, faults, effects, now }: CloudServices,
  { managementToken, keeping }: FrontOptions,
): void {
  const mount = (
    answersFor: HostPredicate,
    of: HttpTrouble['of'],
    errors: ErrorStyle,
    app: HttpApp,
  ): void => {
    http.mount({ answersFor, app: troubledApp(keeping(app), { of, errors, now }), errors })
  }
  // First, since its path stands under every host name: its clients are given addresses, not names of Azure.
  mount(
    (host, path) => host === estHost || isEstPath(path),
    () => faults.trouble('est'),
    estErrors,
    estApp(est, now),
  )
  const troubleOf = (hub: SimulatedHub): Trouble => {
    const met = faults.trouble('hub-service')
    return effects.down.has(hub.hostName) ? { ...met, refusal: { status: 503 } } : met
  }
  for (const hub of hubs.values()) {
    mount(
      (host) => host === hub.hostName,
      () => troubleOf(hub),
      hubErrors,
      hubServiceApp(hub),
    )
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
      ofProvisioningService: (name) =>
        `${name}.${dpsDomain}`.toLowerCase() === serviceHost ? dps.certificates : undefined,
      ofHub: (name) => hubs.get(hubHostName(name))?.certificates,
      now,
    }),
  )
}

/** Finds the service that a CONNECT is meant for, by its user name. */
function routeTo({ dps, hubs, events }: CloudServices): Route {
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
