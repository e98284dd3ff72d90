import type { DeviceRecord } from './device-record.ts'

/** A leaf that the hub has issued itself: JSON. */
export interface IssuedCertificate {
  readonly deviceId: string
  /** A device that is made again under the same name is another one. */
  readonly generationId: string
  /** SHA-256. */
  readonly thumbprint: string
}

/** The leaves that one hub has issued to its devices, and by which it lets them in beside what their records say. */
export class IssuedCertificates {
  readonly #issued = new Map<string, IssuedCertificate[]>()

  add(issued: IssuedCertificate): void {
    this.#issued.set(issued.deviceId, [...(this.#issued.get(issued.deviceId) ?? []), issued])
  }

  /** Whether a leaf was issued to this very device. */
  has({ deviceId, generationId }: DeviceRecord, thumbprint: string): boolean {
    const issued = this.#issued.get(deviceId) ?? []
    return issued.some((one) => one.generationId === generationId && one.thumbprint === thumbprint)
  }

  /** Revokes everything a device was issued. @returns how many certificates */
  revoke(deviceId: string): number {
    const count = this.#issued.get(deviceId)?.length ?? 0
    this.#issued.delete(deviceId)
    return count
  }

  snapshot(): readonly IssuedCertificate[] {
    return [...this.#issued.values()].flat()
  }

  restore(snapshot: readonly IssuedCertificate[]): void {
    this.#issued.clear()
    for (const issued of snapshot) this.add(issued)
  }
}
