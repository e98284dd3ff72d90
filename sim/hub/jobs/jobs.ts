import { ServiceError } from '../../errors.ts'
import type { Alarms } from '../alarms.ts'
import type { JsonObject } from '../json.ts'
import { holds } from '../query/evaluate.ts'
import { parseQueryCondition } from '../query/parse.ts'
import { isOver, type DeviceJob, type Job, type JobRequest, type JobStatus } from './job.ts'

/** What jobs need of their hub. */
export interface JobTools {
  readonly now: () => number
  readonly alarms: Alarms
  /** Every device as queries see it. */
  rows(): readonly (JsonObject & { readonly deviceId: string })[]
  /** Does a job's work on one device. @throws ServiceError when it fails */
  perform(deviceId: string, job: Job): Promise<JsonObject>
  changed(job: Job): void
}

/** The jobs of one hub, as JSON has them. */
export interface JobsSnapshot {
  readonly jobs: readonly Job[]
  readonly deviceJobs: readonly DeviceJob[]
}

/** How many devices a job works on at a time. */
const width = 10

/** The jobs of one hub: each waits for its start, asks for its devices then, and works on ten at a time. */
export class Jobs {
  readonly #tools: JobTools
  readonly #jobs = new Map<string, Job>()
  readonly #deviceJobs = new Map<string, Map<string, DeviceJob>>()
  readonly #alarms = new Map<string, () => void>()
  #isClosed = false

  constructor(tools: JobTools) {
    this.#tools = tools
  }

  /** @throws ServiceError 409 when there is one of that id, QueryRefused when the condition cannot be read */
  create(request: JobRequest): Job {
    const { jobId, startAt, queryCondition } = request
    if (this.#jobs.has(jobId)) {
      throw new ServiceError(409, 409002, `ErrorCode:JobAlreadyExists;There is a job "${jobId}" already.`)
    }
    parseQueryCondition(queryCondition)
    const now = this.#tools.now()
    const job: Job = {
      ...request,
      status: startAt > now ? 'scheduled' : 'queued',
      createdAt: now,
      endedAt: null,
      failureReason: null,
    }
    this.#put(job)
    this.#schedule(job)
    return job
  }

  /** @throws ServiceError 404 */
  get(jobId: string): Job {
    const job = this.#jobs.get(jobId)
    if (job === undefined)
      throw new ServiceError(404, 404002, `ErrorCode:JobNotFound;There is no job "${jobId}".`)
    return job
  }

  /** In the order they were made. */
  list(): readonly Job[] {
    return [...this.#jobs.values()]
  }

  /** What jobs have done on each device. */
  results(jobId?: string): readonly DeviceJob[] {
    const lists = jobId === undefined ? [...this.#deviceJobs.values()] : [this.#deviceJobs.get(jobId)]
    return lists.flatMap((list) => [...(list?.values() ?? [])])
  }

  /** What has begun on a device is not called back. @throws ServiceError 404, 400 when the job is over */
  cancel(jobId: string): Job {
    const { status } = this.get(jobId)
    if (isOver(status)) throw new ServiceError(400, 400003, `The job "${jobId}" is ${status} already.`)
    this.#end(jobId, 'cancelled', null)
    return this.get(jobId)
  }

  close(): void {
    this.#isClosed = true
    for (const cancel of this.#alarms.values()) cancel()
    this.#alarms.clear()
  }

  snapshot(): JobsSnapshot {
    return { jobs: this.list(), deviceJobs: this.results() }
  }

  /** Jobs that had not begun begin in their time; one that was interrupted goes on where it was. */
  restore({ jobs, deviceJobs }: JobsSnapshot): void {
    for (const cancel of this.#alarms.values()) cancel()
    this.#alarms.clear()
    this.#jobs.clear()
    this.#deviceJobs.clear()
    for (const job of jobs) this.#jobs.set(job.jobId, job)
    for (const result of deviceJobs) this.#record(result)
    for (const job of jobs) if (!isOver(job.status)) this.#schedule(job)
  }

  #schedule({ jobId, startAt }: Job): void {
    const { alarms } = this.#tools
    this.#alarms.set(
      jobId,
      alarms.at(startAt, () => void this.#run(jobId)),
    )
  }

  async #run(jobId: string): Promise<void> {
    const { now, alarms } = this.#tools
    const job = this.#put({ ...this.get(jobId), status: 'running' })
    const deadline = job.startAt + job.maxExecutionTimeInSeconds * 1000
    this.#alarms.set(
      jobId,
      alarms.at(deadline, () => this.#end(jobId, 'failed', 'The maximum execution time has passed.')),
    )
    const waiting = this.#devicesOf(job).map((deviceId) => {
      const made = this.#deviceJobs.get(jobId)?.get(deviceId)
      if (made === undefined) this.#record(pending(jobId, deviceId, now()))
      return deviceId
    })
    const work = async (): Promise<void> => {
      for (let deviceId = waiting.shift(); deviceId !== undefined; deviceId = waiting.shift()) {
        if (this.#isStopped(jobId)) return
        await this.#perform(deviceId, job)
      }
    }
    await Promise.all(Array.from({ length: width }, work))
    if (this.#isStopped(jobId)) return
    const hasFailed = this.results(jobId).some(({ status }) => status === 'failed')
    this.#end(jobId, hasFailed ? 'failed' : 'completed', hasFailed ? 'Some devices have failed.' : null)
  }

  async #perform(deviceId: string, job: Job): Promise<void> {
    const { jobId } = job
    const before = this.#deviceJobs.get(jobId)?.get(deviceId)
    if (before === undefined || isOver(before.status)) return
    const startedAt = this.#tools.now()
    this.#record({ ...before, status: 'running', startedAt, updatedAt: startedAt })
    const result = await this.#attempt(deviceId, job)
    const running = this.#deviceJobs.get(jobId)?.get(deviceId)
    if (running?.status !== 'running' || this.#isClosed) return
    const endedAt = this.#tools.now()
    this.#record({ ...running, ...result, endedAt, updatedAt: endedAt })
  }

  async #attempt(deviceId: string, job: Job): Promise<Pick<DeviceJob, 'status' | 'outcome' | 'error'>> {
    try {
      return { status: 'completed', outcome: await this.#tools.perform(deviceId, job), error: null }
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error
      const { errorCode, message } = error
      return { status: 'failed', outcome: null, error: { code: String(errorCode), description: message } }
    }
  }

  /** The devices of a job: those it had when it was interrupted, or those that its condition finds now. */
  #devicesOf({ jobId, queryCondition }: Job): string[] {
    const interrupted = this.#deviceJobs.get(jobId)
    if (interrupted !== undefined) return [...interrupted.keys()]
    const condition = parseQueryCondition(queryCondition)
    return this.#tools
      .rows()
      .filter((row) => condition === undefined || holds(condition, row))
      .map(({ deviceId }) => deviceId)
  }

  #isStopped(jobId: string): boolean {
    return this.#isClosed || this.#jobs.get(jobId)?.status !== 'running'
  }

  #end(jobId: string, status: JobStatus, failureReason: string | null): void {
    this.#alarms.get(jobId)?.()
    this.#alarms.delete(jobId)
    const endedAt = this.#tools.now()
    for (const result of this.results(jobId)) {
      if (isOver(result.status)) continue
      const ended = status === 'cancelled' ? 'canceled' : 'failed'
      const error = failureReason === null ? null : { code: 'JobTimedOut', description: failureReason }
      this.#record({ ...result, status: ended, endedAt, updatedAt: endedAt, error })
    }
    this.#put({ ...this.get(jobId), status, endedAt, failureReason })
  }

  #put(job: Job): Job {
    this.#jobs.set(job.jobId, job)
    this.#tools.changed(job)
    return job
  }

  #record(result: DeviceJob): void {
    const results = this.#deviceJobs.get(result.jobId) ?? new Map<string, DeviceJob>()
    this.#deviceJobs.set(result.jobId, results.set(result.deviceId, result))
  }
}

function pending(jobId: string, deviceId: string, now: number): DeviceJob {
  return {
    jobId,
    deviceId,
    status: 'pending',
    createdAt: now,
    startedAt: null,
    endedAt: null,
    updatedAt: now,
    outcome: null,
    error: null,
  }
}
