import { Next } from '../faults/next.ts'
import {
  ConnectRefused,
  type ConnectRequest,
  type MqttService,
  type MqttSession,
  type RefusalCode,
} from '../mqtt/session.ts'
import { refusalOf, type DoorRules } from './authentication.ts'
import { HubSession, type HubActions } from './hub-session.ts'
import type { DeviceRegistry } from './registry.ts'
import type { SessionStore } from './session-store.ts'
import { parseHubUserName, type HubUserName } from './user-name.ts'

/** What the face of a hub needs to decide on a CONNECT. */
export interface HubDoor {
  readonly hostName: string
  readonly registry: DeviceRegistry
  readonly sessions: SessionStore
  /** What the hub goes by at this moment. */
  rules(): DoorRules
  /** Told of every refusal: 401003, 403012, 404001, or 0 for a fault. */
  refused(deviceId: string, code: RefusalCode, errorCode: number, reason: string): void
}

/** A hub as devices see it over MQTT: lets them in, and keeps one connection for each. */
export class HubDeviceFace implements MqttService {
  readonly name: string
  readonly keepsSessions = true
  /** CONNACK codes with which the next devices are refused. */
  readonly refusals = new Next<RefusalCode>()
  readonly #door: HubDoor
  readonly #actions: HubActions
  readonly #sessions = new Map<string, HubSession>()

  constructor(door: HubDoor, actions: HubActions) {
    this.name = door.hostName
    this.#door = door
    this.#actions = {
      ...actions,
      closed: (session) => {
        if (this.#sessions.get(session.deviceId) === session) this.#sessions.delete(session.deviceId)
        actions.closed(session)
      },
    }
  }

  /** The connection of a device, if it has one. */
  session(deviceId: string): HubSession | undefined {
    return this.#sessions.get(deviceId)
  }

  /** Ends the connection of a device, which is gone from then on. @returns whether it had one */
  disconnect(deviceId: string, reason: string): boolean {
    const session = this.#sessions.get(deviceId)
    this.#sessions.delete(deviceId)
    session?.end(reason)
    return session !== undefined
  }

  accept(request: ConnectRequest): MqttSession {
    const { connection, presented, password } = request
    const userName = parseHubUserName(request.userName)
    const { deviceId, apiVersion = '' } = userName
    const { registry, sessions } = this.#door
    const fault = this.refusals.take()
    if (fault !== undefined) this.#refuse(deviceId, fault, 0, 'A fault was asked for.')
    const mistake = mistakeIn(userName, request.clientId)
    if (mistake !== undefined) this.#refuse(deviceId, 5, 401003, mistake)
    const credentials = { chain: presented, token: password?.toString() }
    const refusal = refusalOf(deviceId, registry.get(deviceId), credentials, this.#door.rules())
    if (refusal !== undefined) this.#refuse(deviceId, 5, refusal.errorCode, refusal.reason)
    // Only a connection that is let in takes over (400027 ConnectionForcefullyClosedOnNewConnection).
    this.disconnect(deviceId, 'A newer connection of the same device has taken over.')
    sessions.begin(deviceId, request.clean)
    const session = new HubSession({ deviceId, apiVersion, credentials }, connection, this.#actions, sessions)
    this.#sessions.set(deviceId, session)
    return session
  }

  #refuse(deviceId: string, code: RefusalCode, errorCode: number, reason: string): never {
    this.#door.refused(deviceId, code, errorCode, reason)
    throw new ConnectRefused(code, reason)
  }
}

function mistakeIn(userName: HubUserName, clientId: string): string | undefined {
  if (userName.moduleId !== undefined) return `"${userName.moduleId}" is a module; this hub has devices only.`
  if (!/^\d{4}-\d{2}-\d{2}(?:-preview)?$/.test(userName.apiVersion ?? '')) {
    return `The api-version "${userName.apiVersion ?? ''}" is none: expected a date, perhaps with -preview.`
  }
  if (userName.deviceId !== clientId) {
    return `The client id "${clientId}" is not the device "${userName.deviceId}" of the user name.`
  }
  return undefined
}
