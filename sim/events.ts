import { EventEmitter } from 'node:events'
import type { RegistrationAttempt } from './dps/registrations.ts'
import type { CloudMessageOutcome } from './hub/cloud-to-device.ts'
import type { JobStatus } from './hub/jobs/job.ts'
import type { TelemetryMessage } from './hub/telemetry.ts'

/** A device on a hub. */
export interface DeviceEvent {
  /** Host name of the hub. */
  readonly hub: string
  readonly deviceId: string
}

/** A CONNECT that a hub has refused, or that was meant for no hub. */
export interface ConnectRefusedEvent extends DeviceEvent {
  /** The CONNACK code. */
  readonly code: number
  /** What Azure logs: 401003 unauthorized, 403012 disabled, 404001 not found. 0 for a fault that was asked for. */
  readonly errorCode: number
  readonly reason: string
}

/** Everything the cloud reports, by name. */
export interface CloudEventMap {
  /** A message has arrived. */
  telemetry: [TelemetryMessage]
  /** A hub has accepted a device. `thumbprint` is that of the leaf, SHA-256. */
  deviceConnected: [DeviceEvent & { readonly thumbprint: string }]
  /** A connection has ended, with who ended it and why. */
  deviceDisconnected: [DeviceEvent & { readonly reason: string }]
  connectRefused: [ConnectRefusedEvent]
  /** DPS has decided on a registration, one way or the other. */
  registration: [RegistrationAttempt]
  /** What became of a cloud-to-device message. */
  cloudToDevice: [DeviceEvent & { readonly messageId: string; readonly outcome: CloudMessageOutcome }]
  /** Tags or properties were written. */
  twinChanged: [DeviceEvent & { readonly by: 'service' | 'device' }]
  /** An answer on `$iothub/credentials`; `isFinal` when it ends the operation that a 202 has begun. */
  credentialAnswered: [
    DeviceEvent & { readonly requestId: string; readonly status: number; readonly isFinal: boolean },
  ]
  /** The EST server has answered a request for a certificate; with the thumbprint of what it has issued. */
  estAnswered: [
    {
      readonly operation: 'simpleenroll' | 'simplereenroll'
      readonly label: string
      readonly status: number
      readonly commonName: string | undefined
      readonly thumbprint: string | undefined
    },
  ]
  /** A job has got further. */
  jobChanged: [{ readonly hub: string; readonly jobId: string; readonly status: JobStatus }]
  /** A device has answered a direct method, or has not. */
  methodCompleted: [DeviceEvent & { readonly methodName: string; readonly outcome: number }]
  /** A connection has ended, whatever it spoke and whoever ended it; so many are left. */
  connectionEnded: [{ readonly open: number }]
}

/**
 * What happens in the cloud, as it happens.
 *
 * @example
 * ```ts
 * const [message] = await once(cloud.events, 'telemetry')
 * const connected = await cloud.events.next('deviceConnected', ({ hub }) => hub.startsWith('hub-b'))
 * ```
 */
export class CloudEvents extends EventEmitter<CloudEventMap> {
  constructor() {
    super()
    // Fleets wait for many devices at once.
    this.setMaxListeners(0)
  }

  /**
   * Resolves with the next event of that name for which the predicate holds; earlier events do not count, so
   * call it before the action that is to cause the event.
   */
  async next<Name extends keyof CloudEventMap>(
    name: Name,
    predicate: (event: CloudEventMap[Name][0]) => boolean = () => true,
  ): Promise<CloudEventMap[Name][0]> {
    // Node's types cannot tell that a listener fits a name which is itself a parameter.
    const untyped = this as EventEmitter
    return new Promise((resolve) => {
      const listener = (event: CloudEventMap[Name][0]): void => {
        if (!predicate(event)) return
        untyped.off(name, listener)
        resolve(event)
      }
      untyped.on(name, listener)
    })
  }
}
