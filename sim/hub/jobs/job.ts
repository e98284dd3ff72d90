import type { JsonObject } from '../json.ts'
import type { MethodCall } from '../methods.ts'
import type { TwinChange } from '../twin.ts'

/** Where a job stands. */
export type JobStatus = 'queued' | 'scheduled' | 'running' | 'completed' | 'failed' | 'cancelled'

/** Where a job stands on one device. */
export type DeviceJobStatus = 'pending' | 'scheduled' | 'running' | 'completed' | 'failed' | 'canceled'

/** What a job does on each of its devices. */
export type JobWork =
  | { readonly type: 'scheduleDeviceMethod'; readonly call: MethodCall; readonly request: JsonObject }
  | { readonly type: 'scheduleUpdateTwin'; readonly change: TwinChange; readonly request: JsonObject }

/** What a service asks for. */
export interface JobRequest {
  readonly jobId: string
  readonly work: JobWork
  /** Milliseconds since 1970. */
  readonly startAt: number
  readonly maxExecutionTimeInSeconds: number
  /** As it came; empty for all devices. */
  readonly queryCondition: string
}

/** A job: JSON. */
export interface Job extends JobRequest {
  readonly status: JobStatus
  readonly createdAt: number
  readonly endedAt: number | null
  readonly failureReason: string | null
}

/** What a job has done on one device: JSON. */
export interface DeviceJob {
  readonly jobId: string
  readonly deviceId: string
  readonly status: DeviceJobStatus
  readonly createdAt: number
  readonly startedAt: number | null
  readonly endedAt: number | null
  readonly updatedAt: number
  /** What came of it: the answer to a method, or an error. */
  readonly outcome: JsonObject | null
  readonly error: { readonly code: string; readonly description: string } | null
}

/** Whether nothing more will happen. */
export function isOver(status: JobStatus | DeviceJobStatus): boolean {
  switch (status) {
    case 'completed':
    case 'failed':
    case 'cancelled':
    case 'canceled':
      return true
    case 'queued':
    case 'scheduled':
    case 'pending':
    case 'running':
      return false
  }
}
