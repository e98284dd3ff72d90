import type { CloudEvents } from '../events.ts'
import { parseSas } from '../http/sas.ts'
import type { MqttService, RefusalCode } from '../mqtt/session.ts'
import { thumbprint256 } from '../pki/thumbprint.ts'
import type { Alarms } from './alarms.ts'
import { refusalOf, type DoorRules } from './authentication.ts'
import { HubDeviceFace } from './device-face.ts'
import type { DeviceRecord } from './device-record.ts'
import type { HubActions, HubSession } from './hub-session.ts'
import type { DeviceRegistry } from './registry.ts'
import type { SessionStore } from './session-store.ts'

/** What the hub does with what its devices say. */
export type DeviceTalk = Omit<HubActions, 'opened' | 'closed'>

/** What connections need of their hub. */
export interface ConnectionTools {
  readonly hostName: string
  readonly registry: DeviceRegistry
  readonly sessions: SessionStore
  readonly alarms: Alarms
  readonly events: CloudEvents
  /** What the hub goes by at this moment. */
  rules(): DoorRules
  /** What was on its way over an earlier connection of the device will not arrive. */
  interrupted(deviceId: string): void
  readonly talk: DeviceTalk
}

/** The connections of one hub's devices, from the CONNECT that is let in to the end, which the registry shows. */
export class DeviceConnections {
  readonly #tools: ConnectionTools
  readonly #face: HubDeviceFace
  readonly #tokenEnds = new WeakMap<HubSession, () => void>()

  constructor(tools: ConnectionTools) {
    const { hostName, registry, sessions, events, talk } = tools
    this.#tools = tools
    this.#face = new HubDeviceFace(
      {
        hostName,
        registry,
        sessions,
        rules: () => tools.rules(),
        refused: (deviceId, code, errorCode, reason) => {
          events.emit('connectRefused', { hub: hostName, deviceId, code, errorCode, reason })
        },
      },
      {
        ...talk,
        opened: (session) => this.#opened(session),
        closed: (session) => this.#closed(session),
      },
    )
  }

  /** The hub as MQTT reaches it. */
  get mqtt(): MqttService {
    return this.#face
  }

  /** The connection of a device, if it has one. */
  session(deviceId: string): HubSession | undefined {
    return this.#face.session(deviceId)
  }

  /** Cuts the connection of a device. @returns whether it had one */
  disconnect(deviceId: string, reason: string): boolean {
    return this.#face.disconnect(deviceId, reason)
  }

  /** Cuts the connection of a device that would not be let in by this record. */
  disconnectUnlessAllowed(record: DeviceRecord): void {
    const { deviceId } = record
    const credentials = this.session(deviceId)?.credentials
    if (credentials === undefined) return
    const refusal = refusalOf(deviceId, record, credentials, this.#tools.rules())
    if (refusal !== undefined) {
      this.disconnect(deviceId, `The device record was replaced. ${refusal.reason}`)
    }
  }

  /** Refuses the next CONNECTs. */
  refuseNext(code: RefusalCode, times: number): void {
    this.#face.refusals.arm(code, times)
  }

  #opened(session: HubSession): void {
    const { hostName, registry, events } = this.#tools
    const { deviceId, credentials } = session
    const { leaf } = credentials.chain
    this.#tools.interrupted(deviceId)
    registry.setConnectionState(deviceId, 'Connected')
    this.#endWithToken(session)
    const thumbprint = leaf === undefined ? '' : thumbprint256(leaf)
    events.emit('deviceConnected', { hub: hostName, deviceId, thumbprint })
  }

  /** A connection lives no longer than the token that it began with. */
  #endWithToken(session: HubSession): void {
    const { registry, alarms } = this.#tools
    const { deviceId, credentials } = session
    const isByToken = registry.get(deviceId)?.authentication.type === 'sas'
    const token = credentials.token === undefined || !isByToken ? undefined : parseSas(credentials.token)
    if (token === undefined) return
    const cancel = alarms.at(Number(token.expiry) * 1000, () => {
      if (this.session(deviceId) === session) this.disconnect(deviceId, 'The token has expired.')
    })
    this.#tokenEnds.set(session, cancel)
  }

  #closed(session: HubSession): void {
    const { hostName, registry, events } = this.#tools
    const { deviceId, endReason, wasOpen } = session
    this.#tokenEnds.get(session)?.()
    if (!wasOpen) return
    // After a takeover the device is still connected.
    if (this.session(deviceId) === undefined) {
      this.#tools.interrupted(deviceId)
      registry.setConnectionState(deviceId, 'Disconnected')
    }
    events.emit('deviceDisconnected', { hub: hostName, deviceId, reason: endReason })
  }
}
