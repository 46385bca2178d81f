// The parts of Uppy that tests use, for a page without a build step.
import "@uppy/core/css/style.min.css";
import "@uppy/dashboard/css/style.min.css";

export { default as AwsS3 } from "@uppy/aws-s3";
export { default as Uppy } from "@uppy/core";
export { default as Dashboard } from "@uppy/dashboard";
export { default as GoldenRetriever } from "@uppy/golden-retriever";
