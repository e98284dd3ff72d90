import { ServiceError } from '../errors.ts'
import { parseJson } from './json.ts'

/** A direct method call, as a service makes it. */
export interface MethodCall {
  readonly methodName: string
  /** Anything JSON has; left out, the device gets `null`. */
  readonly payload?: unknown
  /** How long the device may take to answer. Default 30 000. */
  readonly responseTimeoutMs?: number
  /** How long to wait for a device that is not connected. Default 0. */
  readonly connectTimeoutMs?: number
}

/** The device's answer. */
export interface MethodResult {
  readonly status: number
  readonly payload: unknown
}

/** The way to the devices of a hub. */
export interface MethodChannel {
  /** Whether the device is connected and listens for methods. */
  listens(deviceId: string): boolean
  send(deviceId: string, topic: string, body: string): void
  /** A call has ended: with the device's status, or with the code of the error. */
  completed(deviceId: string, methodName: string, outcome: number): void
}

interface Pending {
  readonly deviceId: string
  readonly settle: (answer: MethodResult | ServiceError) => void
}

// Part of a topic, which MQTT keeps free of control characters and of what is no Unicode (3.1.1, 1.5.3).
const methodNameRule = /^[^/#+\s\p{Cc}\p{Cs}]{1,100}$/u

/** The direct methods of one hub: sends requests, matches answers, keeps both timeouts. */
export class DirectMethods {
  readonly #channel: MethodChannel
  readonly #pending = new Map<string, Pending>()
  readonly #waiting = new Set<{ readonly deviceId: string; readonly settle: (listens: boolean) => void }>()
  #requests = 0

  constructor(channel: MethodChannel) {
    this.#channel = channel
  }

  /**
   * @throws ServiceError 404103 when the device did not connect in time, 504101 when it did not answer in time,
   * 400 when the method cannot be called so
   */
  async invoke(deviceId: string, call: MethodCall): Promise<MethodResult> {
    const { methodName } = call
    try {
      const result = await this.#invoke(deviceId, call)
      this.#channel.completed(deviceId, methodName, result.status)
      return result
    } catch (error) {
      if (error instanceof ServiceError) this.#channel.completed(deviceId, methodName, error.errorCode)
      throw error
    }
  }

  async #invoke(deviceId: string, call: MethodCall): Promise<MethodResult> {
    if (!methodNameRule.test(call.methodName)) {
      throw new ServiceError(
        400,
        400001,
        `"${call.methodName}" is no method name: expected 1 to 100 characters without / # +, spaces and control characters.`,
      )
    }
    if (!this.#channel.listens(deviceId) && !(await this.#comes(deviceId, call.connectTimeoutMs ?? 0))) {
      throw new ServiceError(404, 404103, 'Timed out waiting for device to connect.')
    }
    this.#requests += 1
    const requestId = String(this.#requests)
    const answer = this.#answer(requestId, deviceId, call.responseTimeoutMs ?? 30_000)
    this.#channel.send(
      deviceId,
      `$iothub/methods/POST/${call.methodName}/?$rid=${requestId}`,
      // The device SDK answers 400 to an empty body.
      JSON.stringify(call.payload ?? null),
    )
    const result = await answer
    if (result instanceof ServiceError) throw result
    return result
  }

  /** A device has answered. Answers that nobody waits for any more are dropped, as Azure does. */
  answered(deviceId: string, requestId: string, status: number, body: Buffer): void {
    const pending = this.#pending.get(requestId)
    if (pending?.deviceId !== deviceId) return
    pending.settle(readAnswer(status, body))
  }

  /** A device listens for methods from now on. */
  listens(deviceId: string): void {
    for (const waiting of this.#waiting) if (waiting.deviceId === deviceId) waiting.settle(true)
  }

  /** Ends every call: the hub goes away. */
  close(): void {
    for (const waiting of this.#waiting) waiting.settle(false)
    for (const pending of this.#pending.values()) pending.settle(noAnswer())
  }

  async #answer(
    requestId: string,
    deviceId: string,
    timeoutMs: number,
  ): Promise<MethodResult | ServiceError> {
    return new Promise((resolve) => {
      const settle = (answer: MethodResult | ServiceError): void => {
        clearTimeout(timer)
        this.#pending.delete(requestId)
        resolve(answer)
      }
      const timer = setTimeout(() => settle(noAnswer()), timeoutMs)
      this.#pending.set(requestId, { deviceId, settle })
    })
  }

  async #comes(deviceId: string, timeoutMs: number): Promise<boolean> {
    if (timeoutMs <= 0) return false
    return new Promise((resolve) => {
      const waiting = {
        deviceId,
        settle: (listens: boolean): void => {
          clearTimeout(timer)
          this.#waiting.delete(waiting)
          resolve(listens)
        },
      }
      const timer = setTimeout(() => waiting.settle(false), timeoutMs)
      this.#waiting.add(waiting)
    })
  }
}

function readAnswer(status: number, body: Buffer): MethodResult | ServiceError {
  if (body.length === 0) return { status, payload: null }
  const payload = parseJson(body.toString())
  if (payload !== undefined) return { status, payload }
  return new ServiceError(502, 502001, 'The device has answered with something that is not JSON.')
}

function noAnswer(): ServiceError {
  return new ServiceError(504, 504101, 'Timed out waiting for the response from device.')
}
