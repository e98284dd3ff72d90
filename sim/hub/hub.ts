import { ServiceError } from '../errors.ts'
import type { CloudEvents } from '../events.ts'
import type { MqttService, RefusalCode } from '../mqtt/session.ts'
import { thumbprint256 } from '../pki/thumbprint.ts'
import { TrustedAuthorities } from '../pki/trusted-authorities.ts'
import { refusalOf } from './authentication.ts'
import { HubDeviceFace } from './device-face.ts'
import type { DeviceRecord } from './device-record.ts'
import type { HubActions, HubSession } from './hub-session.ts'
import { DirectMethods, type MethodCall, type MethodResult } from './methods.ts'
import { DeviceRegistry } from './registry.ts'
import { TelemetryLog, type TelemetryMessage } from './telemetry.ts'
import { TwinStore, type JsonObject, type Twin } from './twin.ts'

/** What a hub does with a live connection whose certificate no longer fits the device record. */
export type OnRecordReplaced = 'keep-session' | 'cut-session'

/** What a simulated hub is made of. */
export interface HubOptions {
  readonly hostName: string
  readonly onRecordReplaced: OnRecordReplaced
  readonly events: CloudEvents
  /** Milliseconds since 1970. */
  readonly now: () => number
}

/**
 * An IoT hub.
 *
 * @example
 * ```ts
 * const hub = cloud.hub('hub-a')
 * hub.registry.create({
 *   deviceId: 'device-1',
 *   authentication: { type: 'selfSigned', x509Thumbprint: { primaryThumbprint: leaf.thumbprint, secondaryThumbprint: null } },
 * })
 * const { status, payload } = await hub.invokeMethod('device-1', { methodName: 'reprovision' })
 * ```
 */
export class SimulatedHub {
  readonly hostName: string
  readonly registry: DeviceRegistry
  /** Where devices of the kind `certificateAuthority` may come from. */
  readonly trustedAuthorities = new TrustedAuthorities()
  readonly #events: CloudEvents
  readonly #onRecordReplaced: OnRecordReplaced
  readonly #now: () => number
  readonly #telemetry: TelemetryLog
  readonly #methods: DirectMethods
  readonly #twins = new TwinStore()
  readonly #face: HubDeviceFace

  constructor(options: HubOptions) {
    this.hostName = options.hostName
    this.#events = options.events
    this.#onRecordReplaced = options.onRecordReplaced
    this.#now = options.now
    this.registry = new DeviceRegistry((before, after) => this.#recordChanged(before, after))
    this.#telemetry = new TelemetryLog(options.hostName, options.now)
    this.#methods = new DirectMethods({
      listens: (deviceId) => this.#face.session(deviceId)?.has('methods') === true,
      send: (deviceId, topic, body) => this.#face.session(deviceId)?.send(topic, body),
    })
    this.#face = new HubDeviceFace(
      {
        hostName: this.hostName,
        registry: this.registry,
        trustedAuthorities: this.trustedAuthorities,
        now: options.now,
        refused: (deviceId, code, errorCode, reason) => {
          this.#events.emit('connectRefused', { hub: this.hostName, deviceId, code, errorCode, reason })
        },
      },
      this.#actions(),
    )
  }

  /** The hub as MQTT reaches it. */
  get mqtt(): MqttService {
    return this.#face
  }

  /** Every message that has arrived, in order; one that was sent twice stands here twice. */
  get messages(): readonly TelemetryMessage[] {
    return this.#telemetry.messages
  }

  /** Forgets the messages so far; sequence numbers go on. */
  clearMessages(): void {
    this.#telemetry.clear()
  }

  /**
   * Calls a direct method.
   *
   * @throws ServiceError 404001 for an unknown device, 404103 for one that is not connected or does not listen
   * for methods, 504101 for one that does not answer in time
   */
  async invokeMethod(deviceId: string, call: MethodCall): Promise<MethodResult> {
    this.#require(deviceId)
    const report = (outcome: number): void => {
      const { methodName } = call
      this.#events.emit('methodCompleted', { hub: this.hostName, deviceId, methodName, outcome })
    }
    try {
      const result = await this.#methods.invoke(deviceId, call)
      report(result.status)
      return result
    } catch (error) {
      if (error instanceof ServiceError) report(error.errorCode)
      throw error
    }
  }

  /** @throws ServiceError 404001 for an unknown device */
  twin(deviceId: string): Twin {
    this.#require(deviceId)
    return this.#twins.get(deviceId)
  }

  /** Changes what is wanted of a device, and tells it. @throws ServiceError 404001 for an unknown device */
  updateDesired(deviceId: string, patch: JsonObject): void {
    this.#require(deviceId)
    const $version = this.#twins.desire(deviceId, patch)
    const session = this.#face.session(deviceId)
    if (session?.has('desiredProperties') !== true) return
    session.send(
      `$iothub/twin/PATCH/properties/desired/?$version=${$version}`,
      JSON.stringify({ ...patch, $version }),
    )
  }

  /** Takes over the twin that a device had on another hub. */
  putTwin(deviceId: string, twin: Twin): void {
    this.#twins.put(deviceId, twin)
  }

  /** Cuts the connection of a device. @returns whether it had one */
  disconnect(deviceId: string, reason = 'The hub was asked to cut the connection.'): boolean {
    return this.#face.disconnect(deviceId, reason)
  }

  /** Refuses the next CONNECTs with a code of MQTT 3.1.1: 5 not authorized, 3 server unavailable. */
  refuseNext(code: RefusalCode = 5, times = 1): void {
    this.#face.refusals.arm(code, times)
  }

  /** Ends every call that waits. */
  close(): void {
    this.#methods.close()
  }

  #actions(): HubActions {
    return {
      opened: (session) => this.#opened(session),
      closed: (session) => this.#closed(session),
      telemetry: (deviceId, propertyBag, publication) => {
        this.#events.emit('telemetry', this.#telemetry.receive(deviceId, propertyBag, publication))
      },
      listensForMethods: (deviceId) => this.#methods.listens(deviceId),
      methodAnswered: (deviceId, requestId, status, body) => {
        this.#methods.answered(deviceId, requestId, status, body)
      },
      twin: (deviceId) => this.#twins.get(deviceId),
      twinReported: (deviceId, patch) => this.#twins.report(deviceId, patch),
    }
  }

  #opened(session: HubSession): void {
    const { deviceId, presented } = session
    this.registry.setConnectionState(deviceId, 'Connected')
    const thumbprint = presented.leaf === undefined ? '' : thumbprint256(presented.leaf)
    this.#events.emit('deviceConnected', { hub: this.hostName, deviceId, thumbprint })
  }

  #closed(session: HubSession): void {
    const { deviceId, endReason, wasOpen } = session
    if (!wasOpen) return
    // After a takeover the device is still connected.
    if (this.#face.session(deviceId) === undefined) this.registry.setConnectionState(deviceId, 'Disconnected')
    this.#events.emit('deviceDisconnected', { hub: this.hostName, deviceId, reason: endReason })
  }

  #recordChanged(before: DeviceRecord, after: DeviceRecord | undefined): void {
    const { deviceId } = before
    if (after === undefined) {
      this.#twins.delete(deviceId)
      this.disconnect(deviceId, 'The device was deleted.')
    } else if (after.status === 'disabled') {
      this.disconnect(deviceId, 'The device was disabled.')
    } else if (this.#onRecordReplaced === 'cut-session') {
      const presented = this.#face.session(deviceId)?.presented
      if (presented === undefined) return
      const refusal = refusalOf(deviceId, after, presented, this.trustedAuthorities, this.#now())
      if (refusal !== undefined)
        this.disconnect(deviceId, `The device record was replaced. ${refusal.reason}`)
    }
  }

  #require(deviceId: string): void {
    if (this.registry.get(deviceId) === undefined) {
      throw new ServiceError(404, 404001, `ErrorCode:DeviceNotFound;There is no device "${deviceId}".`)
    }
  }
}
