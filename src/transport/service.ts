import type { ErrorCode } from '../errors.ts'

/** The server at the other end, as far as errors speak of it. */
export interface Service {
  /** `DPS` or `IoT Hub`. */
  readonly title: string
  /** The name its certificate must prove, with an optional port. */
  readonly host: string
  /** It refused the credential. */
  readonly unauthorized: ErrorCode
  /** It has a failure of its own. */
  readonly unavailable: ErrorCode
  /** It refused for another reason. */
  readonly refused: ErrorCode
}

/** How a message names the service: `IoT Hub hub-a.azure-devices.net`. */
export function nameOf(service: Service): string {
  return `${service.title} ${service.host}`
}
