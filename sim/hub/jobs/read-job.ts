import { ServiceError } from '../../errors.ts'
import { isObject, type JsonObject } from '../json.ts'
import { readMethodCall } from '../service/method-body.ts'
import { readTwinChange } from '../service/twin-body.ts'
import type { JobRequest, JobWork } from './job.ts'

const longestExecution = 365 * 24 * 60 * 60
const defaultExecution = 60 * 60
// Azure: letters, digits, and a few more.
const jobIdRule = /^[A-Za-z0-9\-:.+%_#*?!(),=@;$']{1,128}$/

/**
 * Reads the body of `PUT /jobs/v2/{id}`.
 *
 * @param now - milliseconds since 1970, the start of jobs that name none
 * @throws ServiceError 400
 */
export function readJob(jobId: string, body: JsonObject, now: number): JobRequest {
  if (!jobIdRule.test(jobId)) throw invalid(`"${jobId}" is no job id.`)
  if (body['jobId'] !== undefined && body['jobId'] !== jobId)
    throw invalid('The job id is not that of the path.')
  const { startTime, maxExecutionTimeInSeconds = defaultExecution, queryCondition = '' } = body
  if (
    !Number.isInteger(maxExecutionTimeInSeconds) ||
    Number(maxExecutionTimeInSeconds) < 1 ||
    Number(maxExecutionTimeInSeconds) > longestExecution
  ) {
    throw invalid(`maxExecutionTimeInSeconds: expected 1 to ${longestExecution}.`)
  }
  if (typeof queryCondition !== 'string') throw invalid('queryCondition: expected a string.')
  return {
    jobId,
    work: readWork(body),
    startAt: readStart(startTime, now),
    maxExecutionTimeInSeconds: Number(maxExecutionTimeInSeconds),
    queryCondition,
  }
}

function readWork(body: JsonObject): JobWork {
  switch (body['type']) {
    case 'scheduleDeviceMethod': {
      const request = body['cloudToDeviceMethod']
      if (!isObject(request)) throw invalid('cloudToDeviceMethod: expected an object.')
      return { type: 'scheduleDeviceMethod', call: readMethodCall(request), request }
    }
    case 'scheduleUpdateTwin': {
      const request = body['updateTwin']
      if (!isObject(request)) throw invalid('updateTwin: expected an object.')
      return { type: 'scheduleUpdateTwin', change: readTwinChange(request), request }
    }
    default:
      throw invalid('type: expected scheduleDeviceMethod or scheduleUpdateTwin.')
  }
}

function readStart(startTime: unknown, now: number): number {
  if (startTime === undefined || startTime === null || startTime === '') return now
  const at = typeof startTime === 'string' ? Date.parse(startTime) : NaN
  if (Number.isNaN(at)) throw invalid('startTime: expected an instant in ISO 8601.')
  return at
}

function invalid(message: string): ServiceError {
  return new ServiceError(400, 400004, message)
}
