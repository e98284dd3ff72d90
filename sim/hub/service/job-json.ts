import type { JsonObject } from '../json.ts'
import type { DeviceJob, Job } from '../jobs/job.ts'

/** A job as the REST API has it. */
export function jobJson(job: Job, results: readonly DeviceJob[]): JsonObject {
  const { work, startAt, createdAt, endedAt, ...rest } = job
  return {
    jobId: rest.jobId,
    type: work.type,
    ...(work.type === 'scheduleDeviceMethod'
      ? { cloudToDeviceMethod: work.request }
      : { updateTwin: work.request }),
    queryCondition: rest.queryCondition,
    createdTime: instant(createdAt),
    startTime: instant(startAt),
    ...(endedAt === null ? {} : { endTime: instant(endedAt) }),
    maxExecutionTimeInSeconds: rest.maxExecutionTimeInSeconds,
    status: rest.status,
    ...(rest.failureReason === null ? {} : { failureReason: rest.failureReason }),
    deviceJobStatistics: {
      deviceCount: results.length,
      failedCount: count(results, ['failed']),
      succeededCount: count(results, ['completed']),
      runningCount: count(results, ['running']),
      pendingCount: count(results, ['pending', 'scheduled']),
    },
  }
}

/** What a job has done on one device, as `SELECT * FROM devices.jobs` has it. */
export function deviceJobJson(result: DeviceJob, job: Job): JsonObject {
  const { jobId, deviceId, status, outcome, error } = result
  return {
    deviceId,
    jobId,
    jobType: job.work.type,
    status,
    createdDateTimeUtc: instant(result.createdAt),
    ...(result.startedAt === null ? {} : { startTimeUtc: instant(result.startedAt) }),
    ...(result.endedAt === null ? {} : { endTimeUtc: instant(result.endedAt) }),
    lastUpdatedDateTimeUtc: instant(result.updatedAt),
    ...(outcome === null ? {} : { outcome }),
    ...(error === null ? {} : { error }),
  }
}

function count(results: readonly DeviceJob[], statuses: readonly DeviceJob['status'][]): number {
  return results.filter(({ status }) => statuses.includes(status)).length
}

function instant(at: number): string {
  return new Date(at).toISOString()
}
