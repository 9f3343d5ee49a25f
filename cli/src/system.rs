//! The verbs on the engine itself.

use coble::{CheckStatus, ErrorKind};

use crate::args::{Format, FormatArgs, Global, InspectArgs, ObjectType};
use crate::output::{self, Outcome};
use crate::{containers, each, engine_options, open};

pub(crate) fn inspect(global: &Global, args: InspectArgs) -> Outcome {
    let engine = open(global)?;
    let mut found = Vec::new();
    let status = each(&args.objects.names, |name| {
        let value = match args.r#type {
            Some(ObjectType::Image) => engine.images().inspect_docker(name)?,
            Some(ObjectType::Volume) => engine.volumes().get(name)?.inspect_docker()?,
            Some(ObjectType::Container) => containers::looked_at(&engine.containers().get(name)?, args.size)?,
            None => match engine.containers().get(name) {
                Ok(container) => containers::looked_at(&container, args.size)?,
                Err(error) if error.kind() == ErrorKind::ContainerNotFound => {
                    match (engine.images().inspect_docker(name), engine.volumes().get(name)) {
                        (Err(error), Ok(volume)) if error.kind() == ErrorKind::ImageNotFound => {
                            volume.inspect_docker()?
                        }
                        (found, _) => found?,
                    }
                }
                Err(error) => return Err(error.into()),
            },
        };
        found.push(value);
        Ok(())
    })?;
    containers::print_objects(&found, args.objects.format)?;
    Ok(status)
}

pub(crate) fn info(global: &Global, args: FormatArgs) -> Outcome {
    let info = open(global)?.info()?;
    if args.format == Format::Json {
        output::json(&info)?;
        return Ok(0);
    }
    output::line(format_args!("Version:     {}", info.version))?;
    output::line(format_args!("Data root:   {}", info.data_root.display()))?;
    output::line(format_args!("Run root:    {}", info.run_root.display()))?;
    output::line(format_args!("Rootless:    {}", info.rootless))?;
    output::line(format_args!("Images:      {}", info.images))?;
    output::line(format_args!("Containers:  {} ({} running)", info.containers, info.running))?;
    output::line(format_args!("Cgroups:     {}", info.cgroup_version))?;
    output::line(format_args!("Kernel:      {}", info.kernel))?;
    Ok(0)
}

pub(crate) fn version(args: FormatArgs) -> Outcome {
    match args.format {
        Format::Json => output::json(&serde_json::json!({ "version": coble::version() }))?,
        Format::Table => output::line(format_args!("coble {}", coble::version()))?,
    }
    Ok(0)
}

pub(crate) fn doctor(global: &Global, args: FormatArgs) -> Outcome {
    // Without an engine, because the doctor is asked when none can be opened.
    let report = coble::doctor(&engine_options(global));
    let ok = report.ok();
    match args.format {
        Format::Json => output::json(&report)?,
        Format::Table => {
            for check in &report.checks {
                let mark = match check.status {
                    CheckStatus::Ok => "ok     ",
                    CheckStatus::Warning => "warning",
                    CheckStatus::Fail => "FAIL   ",
                };
                output::line(format_args!("{mark}  {}: {}", check.name, check.summary))?;
                if let Some(fix) = &check.fix {
                    output::line(format_args!("         fix: {fix}"))?;
                }
            }
            output::line(if ok {
                "containers can run on this host"
            } else {
                "containers cannot run on this host"
            })?;
        }
    }
    Ok(if ok { 0 } else { 1 })
}
